"""The run folder: a new one, or that of a run to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fedstrata.assembly.method_name import method_name
from fedstrata.config.load import Loaded, load_config
from fedstrata.errors import CheckpointError, ConfigError, nearest
from fedstrata.files import argument, too_long
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem, config_error
from fedstrata.runs.folder import RunFolder


def output_folder(loaded: Loaded) -> RunFolder:
    """Return the folder of a new run; it is not made yet.

    Raises:
        ConfigError: It cannot be one, or is not empty; with its place in the file.
    """
    config = loaded.config
    if config.output is None:
        name = config.name or method_name(loaded.components.selector)
        return RunFolder(_unused(Path("runs") / f"{datetime.now():%Y-%m-%d_%H%M%S}_{name}_s{config.seed}"))
    try:
        path = expanded(config.output)
        message = _taken(path)
    except ConfigError as error:
        message = str(error)
    except OSError as error:  # such as a name that is too long
        message = f"'{config.output[:60]}' cannot be a folder: {error.strerror}; name another"
    if message is None:
        return RunFolder(path)
    raise config_error([Problem(("output",), message)], loaded.marks)


def run_folder(path: Path) -> RunFolder:
    """Return the folder of a run that has begun.

    Raises:
        CheckpointError: The folder is not a run's.
    """
    folder = RunFolder(path)
    if reason := too_long(path):
        raise CheckpointError(f"there is no such run folder: {reason}")
    if not path.is_dir():
        raise CheckpointError(f"there is no run folder {path}{_near(path)}")
    if not folder.config.is_file():
        raise CheckpointError(f"{path} is not a run folder: it has no {folder.config.name}{_near(path / 'any')}")
    return folder


def begun(path: Path, overrides: Sequence[str] = ()) -> tuple[Loaded, RunFolder]:
    """Return the configuration and folder of a run that has begun and not finished.

    Raises:
        CheckpointError: The folder is not a run's, or the run has finished.
    """
    folder = run_folder(path)
    if folder.model.exists():
        raise CheckpointError(
            f"{path} has finished; its model is in {folder.model}. More rounds: fedstrata resume {argument(path)}"
            " --rounds N (of all of them); another run: fedstrata run"
        )
    return load_config(folder.config, overrides), folder


def _near(path: Path) -> str:
    """Return a hint with the run folders beside a path."""
    runs = sorted(str(p.parent) for p in path.parent.glob("*/config.resolved.yaml"))
    return f"; {nearest(str(path), runs)}" if runs else ""


def _taken(path: Path) -> str | None:
    """Return why a run cannot have a folder, or ``None``."""
    if path.is_file():
        return f"{path} is a file; name a folder"
    if path.exists() and any(path.iterdir()):
        folder, taken = RunFolder(path), f"{path} exists and is not empty"
        if not folder.config.is_file():
            return f"{taken}, and it is no run folder; choose another folder"
        if folder.model.exists():
            return f"{taken}: it holds a run that has finished; choose another folder"
        return f"{taken}; choose another folder, or go on with: fedstrata resume {argument(path)}"
    return None


def _unused(path: Path) -> Path:
    names = (path.with_name(f"{path.name}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(name for name in names if not name.exists())
