"""More rounds, or other settings for the rounds to come, of a run that has begun.

What may change is what every round reads anew: nothing that has happened depends on it, and no memory of a selector or
an aggregator was made with it. All else is the run itself; with another one a new run begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedstrata.assembly.anew import ANEW
from fedstrata.assembly.output import run_folder
from fedstrata.assembly.provenance import resolved
from fedstrata.config.load import Loaded, load_config
from fedstrata.domain.formatting import plural
from fedstrata.errors import CheckpointError, ConfigError, nearest
from fedstrata.files import write_atomic, writing
from fedstrata.locks import Lock
from fedstrata.runs.checkpoint import generations, round_of
from fedstrata.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Revision:
    """What is asked for.

    Attributes:
        rounds: Rounds of the whole run; ``None`` leaves them.
        settings: Texts such as ``train.lr=0.1``.
    """

    rounds: int | None = None
    settings: Sequence[str] = ()

    @property
    def overrides(self) -> list[str]:
        """All of it as overrides."""
        return [*self.settings, *([] if self.rounds is None else [f"train.rounds={self.rounds}"])]


def revise(path: Path, asked: Revision) -> None:
    """Write a run's configuration with what is asked for; a finished run's model is kept under another name.

    Args:
        path: The run folder.
        asked: What is to change.

    Raises:
        ConfigError: A key may not change, a value does not fit, or so many rounds have been played.
        CheckpointError: The folder is not a run's, another process plays the run, or its checkpoints are gone.
        StorageError: The folder cannot be written.

    Example:
        See ``tests/assembly/test_revise.py``.
    """
    if not asked.overrides:
        return
    folder = run_folder(path)
    _check_keys(asked.settings)
    loaded = load_config(folder.config, asked.overrides)
    lock = Lock(path)
    if not lock.take(within=0.0):
        raise CheckpointError(f"{path} is being played by another process; wait for it, or end it")
    try:
        with writing(path, "make room"):
            _revise(folder, loaded)
    finally:
        lock.release()


def _revise(folder: RunFolder, loaded: Loaded) -> None:
    done = max((round_of(p) for p in generations(folder.checkpoints)), default=0)
    rounds = loaded.config.train.rounds
    if rounds < done or (folder.model.exists() and rounds == done):
        raise ConfigError(
            f"{folder.path} has played {plural(done, 'round')}; --rounds is the number of all of them,"
            f" so give more than {done}"
        )
    if folder.model.exists():
        if not done:
            raise CheckpointError(
                f"{folder.path} has no checkpoint to go on from (a sweep with keep_models: false keeps none);"
                " start a new run"
            )
        folder.model.rename(_free(folder.path, f"model-round-{done}"))
    write_atomic(folder.config, resolved(loaded))


def _free(folder: Path, name: str) -> Path:
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(folder / one for one in names if not (folder / one).exists())


def _check_keys(settings: Sequence[str]) -> None:
    for text in settings:
        key = text.partition("=")[0].strip()
        if key not in ANEW:
            near = nearest(key, ANEW)
            raise ConfigError(
                f"--set {key}: a run that has begun keeps it, since rounds that have been played depend on it; "
                f"{near if near.startswith('did') else 'what may change: ' + ', '.join(ANEW)}; or start a new run"
            )
