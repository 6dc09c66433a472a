"""A run's folder before its first round: configuration, environment, data card, and what its sites declared."""

from __future__ import annotations

import json

from fedstrata.assembly.inputs import Inputs, write_inputs
from fedstrata.assembly.provenance import environment, resolved
from fedstrata.config.load import Loaded
from fedstrata.domain.card import DataCard
from fedstrata.files import private_folder, write_atomic, writing
from fedstrata.parsing.problems import Problem, config_error
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.sites_file import Sites, write_sites


def begin(folder: RunFolder, loaded: Loaded, card: DataCard, inputs: Inputs, sites: Sites | None) -> None:
    """Make a run folder and write what is known before the first round; the configuration comes last.

    Args:
        folder: The folder; one that has a configuration has everything else, too.
        loaded: The run's configuration.
        card: What its rows are.
        inputs: Hashes of its rows and its model.
        sites: What sites declared; ``None`` where there are none.

    Raises:
        ConfigError: The folder cannot be made; with its place in the file.
        StorageError: It cannot be written.
    """
    _make(folder, loaded)
    with writing(folder.path, "make room, delete the folder, and start again"):
        if sites is not None:
            write_sites(folder, sites)
        write_atomic(folder.path / "env.json", environment(loaded))
        write_atomic(folder.path / "data_card.json", json.dumps(card.to_json(), indent=1))
        write_inputs(folder, inputs)
        write_atomic(folder.config, resolved(loaded))


def _make(folder: RunFolder, loaded: Loaded) -> None:
    """Make a run folder.

    Raises:
        ConfigError: It cannot be made; with its place in the file.
    """
    try:
        private_folder(folder.path)
        private_folder(folder.checkpoints)
    except OSError as error:
        problem = Problem(("output",), f"cannot make the run folder {folder.path}: {error.strerror}; choose another")
        raise config_error([problem], loaded.marks) from error
