"""Reading a YAML file: its mapping, and the line and column of every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedstrata.errors import ConfigError, nearest
from fedstrata.files import too_long
from fedstrata.parsing.bounded_files import UnreadableError, read_text
from fedstrata.parsing.problems import Loc
from fedstrata.parsing.yaml_text import MOST_BYTES, yaml_value


def read_yaml(path: Path) -> tuple[dict[Any, Any], dict[Loc, str]]:
    """Return a file's mapping, and where each of its values stands, such as ``my.yaml:4:3``.

    Raises:
        ConfigError: There is no such file, it is not YAML, not a mapping, gives a key twice, or is beyond the bounds of
            ``yaml_value``.
    """
    values, marks = yaml_value(_text(path), str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1:1: a configuration is a mapping of keys to values, got {type(values).__name__}")
    return values, marks


def _text(path: Path) -> str:
    if reason := too_long(path):
        raise ConfigError(f"there is no such configuration file: {reason}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the configuration file in it")
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        hint = nearest(path.name, near) if near else "'fedstrata init' writes one"
        raise ConfigError(f"there is no configuration file {path}; {hint}")
    try:
        return read_text(path, most=MOST_BYTES, pipes=True)
    except UnreadableError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
