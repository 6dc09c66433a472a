"""How a run of a sweep stands: what its folder holds, and whether that is of the same configuration and inputs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import yaml

from fedstrata.assembly.provenance import BITS_DO_NOT_DEPEND_ON, resolved_values
from fedstrata.config.load import check_config
from fedstrata.domain.formatting import listing
from fedstrata.errors import FedstrataError, StorageError, shortened
from fedstrata.parsing.bounded_files import UnreadableError, read_text
from fedstrata.parsing.yaml_text import MOST_BYTES, yaml_value
from fedstrata.runs.folder import RunFolder
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job

_BEGINNINGS = frozenset({"checkpoints", "env.json", "data_card.json", "sites.json", "inputs.json"})
"""What a run folder may hold before it has its configuration; hidden files are on their way to be one of these."""


class Standing(StrEnum):
    """How a run stands."""

    NEW = "new"
    BEGUN = "begun"
    FINISHED = "finished"
    CHANGED = "changed"
    FOREIGN = "foreign"


def standing(job: Job, present: Present) -> tuple[Standing, str]:
    """Return how a run stands, and for one that cannot be used why.

    A run has finished once its model is there, which is the last thing that it writes.

    Args:
        job: The run.
        present: What it would be made of now.

    Raises:
        ConfigError: The run has begun, and its model is not there any more.
        DataError: The run has begun, and its rows are not there any more.

    Example:
        See ``tests/sweeping/test_run_status.py``.
    """
    folder = RunFolder(job.folder)
    if not folder.config.is_file():
        strange = _strange(job.folder)
        if strange is not None:
            return Standing.FOREIGN, f"{job.folder} is not a run folder: it holds {strange}; choose another output"
        return Standing.NEW, ""
    different = difference(folder.config, job.values) or present.changed(job)
    if different is not None:
        return Standing.CHANGED, f"{job.folder}: {different}"
    return (Standing.FINISHED if folder.model.exists() else Standing.BEGUN), ""


def clear(job: Job) -> None:
    """Remove what is left of a run, so that it can begin anew.

    Raises:
        StorageError: It cannot be removed.
    """
    try:
        if job.folder.exists():
            shutil.rmtree(job.folder)
    except OSError as error:
        raise StorageError(f"{job.folder} cannot be removed: {error.strerror or error}; remove it yourself") from error


def _strange(folder: Path) -> str | None:
    """Return something in a folder that no beginning run has put there, or ``None``."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        return "no files: it is one"
    names = sorted(p.name for p in folder.iterdir())
    return next((name for name in names if name not in _BEGINNINGS and not name.startswith(".")), None)


def difference(file: Path, values: Mapping[str, object]) -> str | None:
    """Return in words where a run's configuration differs from another, or ``None``.

    Keys that do not change a run's bits may differ. A key that the run's version did not know has its default.

    Args:
        file: The run's ``config.resolved.yaml``.
        values: The other configuration, every default written out.
    """
    try:
        old, _ = yaml_value(read_text(file, most=MOST_BYTES), file.name)
        if not any(_differences(old, values)):
            return None
        old = resolved_values(check_config(old))
    except (FedstrataError, OSError, UnreadableError) as error:
        return f"its {file.name} cannot be used: {' '.join(str(error).split())}"
    found = list(_differences(old, values))
    return listing(found, limit=3) if found else None


def _differences(old: object, new: object, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if path or key not in BITS_DO_NOT_DEPEND_ON:
                yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path} was {_shown(old)}, now {_shown(new)}"


def _shown(value: object) -> str:
    return shortened(yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip(), 60)
