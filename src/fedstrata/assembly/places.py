"""Whether the files that a configuration names are there; asked before anything that takes seconds to import."""

from __future__ import annotations

from fedstrata.config.load import Loaded
from fedstrata.data.find_sources import find, find_sites
from fedstrata.data.kinds import Digits, Files, Own
from fedstrata.errors import ConfigError, DataError, ModelError
from fedstrata.models.model_path import is_custom, model_folder
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem, config_error, located


def check_places(loaded: Loaded, *, weights: bool = True, rows: bool = True) -> None:
    """Look for the model's folder and the files of the data; what is in them is checked when they are read.

    Args:
        loaded: The configuration.
        weights: Whether the model's weights are needed.
        rows: Whether the data are needed.

    Raises:
        ConfigError: The model's folder is not there, or holds no model; with file and line.
        DataError: A file or folder of the data is not there; with file and line.

    Example:
        See ``tests/cli/test_startup.py``.
    """
    path = loaded.config.model.path
    try:
        if path.startswith("embedded:"):
            model_folder(path, weights=weights)
        elif not is_custom(path):
            model_folder(loaded.base / expanded(path), weights=weights)
    except (ModelError, ConfigError) as error:
        raise config_error([Problem(("model", "path"), str(error))], loaded.marks) from error
    try:
        if rows:
            _look(loaded)
    except DataError as error:
        raise DataError(located(Problem(("data",), str(error)), loaded.marks)) from error


def _look(loaded: Loaded) -> None:
    source = loaded.components.data
    if isinstance(source, Digits):
        return
    if isinstance(source, Files) and source.sites:
        find_sites(source.sites, loaded.base)
    elif isinstance(source, Files | Own) and source.train:
        find(source.train, loaded.base)
    test = None if isinstance(source, Own) else source.test
    if test is not None:
        find(test, loaded.base)
