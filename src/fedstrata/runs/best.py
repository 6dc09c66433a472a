"""The weights of the round that is best so far, kept beside the checkpoints until the run ends.

best/round-0003.safetensors     the trainable tensors after 3 rounds; 0 is the starting point

A file of a round stays as long as one of the two checkpoints on disk calls that round the best: a run that goes on from
either finds it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fedstrata.domain.ids import TensorName
from fedstrata.errors import CheckpointError, StorageError
from fedstrata.files import sync
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True)
class BestWeights:
    """Where the weights of the best rounds are kept.

    Attributes:
        folder: Made when it is first needed.

    Example:
        See ``tests/runs/test_best.py``.
    """

    folder: Path

    def save(self, round: int, weights: Weights) -> None:
        """Keep the weights after a round, whole or not at all.

        Raises:
            StorageError: They cannot be written.
        """
        target = self._path(round)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
            sync(temporary)
            temporary.replace(target)
            sync(self.folder)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StorageError(f"the best round's weights cannot be written to {target}: {reason}") from error

    def prune(self, rounds: Collection[int]) -> None:
        """Delete the weights of all other rounds."""
        kept = {self._path(round) for round in rounds}
        for path in self.folder.glob("*round-*.safetensors*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def load(self, round: int) -> Weights:
        """Return the weights after a round.

        Raises:
            CheckpointError: They are not there, or cannot be read.
        """
        path = self._path(round)
        try:
            return {TensorName(name): tensor for name, tensor in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} holds the best round's weights and cannot be read: {error}") from error

    def _path(self, round: int) -> Path:
        return self.folder / f"round-{round:04d}.safetensors"
