"""Reading YAML so that every value remembers where it stands, and no key is given twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fedstrata.config.problems import Loc
from fedstrata.errors import ConfigError, nearest

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> tuple[dict[Any, Any], dict[Loc, str]]:
    """Return a file's mapping, and where each of its values stands, such as ``my.yaml:4:3``.

    Raises:
        ConfigError: There is no such file, it is not YAML, not a mapping, or gives a key twice.
    """
    text = _text(path)
    marks: dict[Loc, str] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = {} if node is None else _plain(node, path, (), marks)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: this is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        first = " ".join(str(error).split())
        raise ConfigError(f"{path}: this is not YAML: {first}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: an alias (*name) holds itself; write the value out") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1:1: a configuration is a mapping of keys to values, got {type(values).__name__}")
    return values, marks


def _text(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the configuration file in it")
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        hint = nearest(path.name, near) if near else "'fedstrata init' writes one"
        raise ConfigError(f"there is no configuration file {path}; {hint}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not a text file in UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _plain(node: yaml.Node, path: Path, loc: Loc, marks: dict[Loc, str]) -> Any:  # noqa: ANN401  YAML values
    """Return a node's value, noting where each key stands."""
    marks.setdefault(loc, _place(node, path))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, loc, marks)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, path, (*loc, i), marks) for i, child in enumerate(node.value)]
    return _scalar(node, path)


def _mapping(node: yaml.MappingNode, path: Path, loc: Loc, marks: dict[Loc, str]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for merged in _merged(node):
        out |= _plain(merged, path, loc, marks)
    own = set()
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{_place(key_node, path)}: a key has to be a word, not a list or mapping")
        key = _scalar(key_node, path)
        if key in own:
            raise ConfigError(f"{_place(key_node, path)}: '{key}' is given twice; keep one")
        own.add(key)
        marks[(*loc, key)] = _place(key_node, path)
        out[key] = _plain(value_node, path, (*loc, key), marks)
    return out


def _merged(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """Yield what ``<<:`` merges into a mapping, the weakest first."""
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            yield from (part for part in reversed(parts) if isinstance(part, yaml.MappingNode))


def _scalar(node: yaml.Node, path: Path) -> Any:  # noqa: ANN401  YAML values
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:
        raise ConfigError(f"{_place(node, path)}: '{node.value}' is no value: {error}; put it in quotes") from error
    finally:
        loader.dispose()


def _place(node: yaml.Node, path: Path) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
