"""From a checked configuration to a run that is ready to start: model, data, clients, engine, folder.

Where clients are sites there are two steps: what needs no site is opened first, and the setting is made of what the
sites that have joined declare. The engine of such a run is handed to ``PreparedRun.run``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedstrata.assembly.loading import check_kind
from fedstrata.assembly.opened import OpenedRun
from fedstrata.assembly.output import begun, output_folder
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.runtime import open_workplace
from fedstrata.assembly.shared import ALONE, Shared
from fedstrata.config.load import Loaded
from fedstrata.data.kinds import Remote
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.sites_file import read_sites


def prepare_run(loaded: Loaded, shared: Shared = ALONE) -> PreparedRun:
    """Load model and data, check that the method can run on them, and make the run folder.

    Args:
        loaded: The configuration.
        shared: What it may share with other runs of this process.

    Raises:
        ConfigError: Something that the configuration names does not fit, or the rows lie at sites; with file and line.
        DataError: The data cannot be used.
        StorageError: The run folder cannot be written.
    """
    check_kind(loaded, here=True)
    return open_run(loaded, shared).prepare()


def open_run(loaded: Loaded, shared: Shared = ALONE) -> OpenedRun:
    """Load model and data of a run; what its sites declare is still to come, and nothing is written yet.

    Raises:
        ConfigError: Model, data and device do not fit, or the run folder is taken; with file and line.
        DataError: The data cannot be used.

    Example:
        See ``tests/assembly/test_declarations.py``.
    """
    check_kind(loaded, here=False)
    folder = output_folder(loaded)
    return OpenedRun(loaded, open_workplace(loaded, shared.rows), folder, shared=shared)


def reopen_run(path: Path, overrides: Sequence[str] = (), shared: Shared = ALONE) -> PreparedRun:
    """Prepare a run from its own folder, to go on with it on this machine.

    Args:
        path: The run folder.
        overrides: Texts such as ``engine=processes``, of keys that do not change the run's bits.
        shared: What it may share with other runs of this process.

    Raises:
        CheckpointError: The folder is not a run's, or the run has already finished.
    """
    loaded, folder = begun(path, overrides)
    check_kind(loaded, here=True)
    return _again(loaded, folder, shared).prepare()


def reopen(path: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Load model and data of a run that has begun, from its own folder, with what its sites declared then.

    Args:
        path: The run folder.
        overrides: Texts such as ``engine=flower``, of keys that do not change the run's bits.

    Raises:
        CheckpointError: The folder is not a run's, or the run has already finished.
    """
    loaded, folder = begun(path, overrides)
    return _again(loaded, folder)


def _again(loaded: Loaded, folder: RunFolder, shared: Shared = ALONE) -> OpenedRun:
    stored = read_sites(folder, needed=isinstance(loaded.components.data, Remote))
    return OpenedRun(loaded, open_workplace(loaded, shared.rows), folder, began=True, stored=stored, shared=shared)
