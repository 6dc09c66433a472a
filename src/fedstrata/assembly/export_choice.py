"""Which weights a run leaves as a model: those after the last round, or after the best one on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.assembly.model_card import after_last
from fedstrata.runs.best import BestWeights
from fedstrata.runs.folder import RunFolder
from fedstrata.server.run import RunResult
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True)
class Exported:
    """A model to write.

    Attributes:
        path: Its folder.
        weights: Its trainable tensors.
        round: After which round.
        said: What its card says of the round and its figures.
    """

    path: Path
    weights: Weights
    round: int
    said: str


def best_weights(folder: RunFolder) -> BestWeights:
    """Return where a run keeps the weights of its best round."""
    return BestWeights(folder.path / "best")


def exports(kind: str, folder: RunFolder, result: RunResult) -> Iterator[Exported]:
    """Yield what is written when a run has finished; ``model/``, which says that it has, comes last.

    Args:
        kind: ``last``, ``best`` or ``both``.
        folder: Of the run.
        result: What came out of it.

    Raises:
        CheckpointError: The weights of the best round are not there.

    Example:
        See ``tests/assembly/test_export_choice.py``.
    """
    last = Exported(folder.model, result.weights, int(result.summary["rounds"]), after_last(result.summary))
    if kind == "last":
        yield last
        return
    best = result.summary["best"]
    if best["chosen_on"] != "held-out":  # no client holds rows out: said in a note before the run
        yield last
        return
    number = int(best["round"])
    weights = best_weights(folder).load(number)
    target = folder.model if kind == "best" else folder.path / "model-best"
    yield Exported(target, weights, number, _best(best))
    if kind == "both":
        yield last


def _best(best: Mapping[str, Any]) -> str:
    after = f"after round {best['round']}" if best["round"] else "before any training"
    held_out = f"the best of all on the clients' held-out rows (accuracy {best['validation']:.4f})"
    return f"{after}, {held_out}: accuracy {best['accuracy']:.4f}"
