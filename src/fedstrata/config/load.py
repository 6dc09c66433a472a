"""Reading a configuration: YAML with line numbers, overrides, and every problem said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from fedstrata.config.components import Components, build_components
from fedstrata.config.problems import Loc, Marks, Problem, config_error
from fedstrata.config.schema import Config
from fedstrata.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration.

    Attributes:
        config: The plain sections.
        components: The built components.
        marks: Where each value stands, for later errors.
        base: Folder that relative paths of models and data start from.
    """

    config: Config
    components: Components
    marks: Marks
    base: Path


def load_config(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and check a YAML file.

    Args:
        path: The file.
        overrides: Texts such as ``train.lr=0.1``; the value is read as YAML.

    Raises:
        ConfigError: Every problem, each with file, line and column.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        hint = f"; {nearest(path.name, near)}" if near else ""
        raise ConfigError(f"there is no configuration file {path}{hint}")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: this is not YAML: {error.problem}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not a text file in UTF-8") from error
    marks: dict[Loc, str] = {}
    values = _plain(node, path, (), marks) if node is not None else {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1:1: a configuration is a mapping of keys to values, got {type(values).__name__}")
    return check_config(values, overrides=overrides, marks=marks, base=path.parent)


def check_config(
    values: Mapping[str, Any], *, overrides: Sequence[str] = (), marks: Marks | None = None, base: Path = Path()
) -> Loaded:
    """Check a configuration given as plain values.

    Raises:
        ConfigError: Every problem, with its place if it is known.
    """
    merged: dict[str, Any] = {**values}
    places = dict(marks or {})
    for text in overrides:
        _override(merged, text, places)
    problems: list[Problem] = []
    config: Config | None = None
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [_problem(e) for e in error.errors()]
    if isinstance(merged.get("base"), str):
        base = base / merged["base"]
    components, more = build_components(merged, base)
    problems += [p for p in more if p.loc[:1] not in {q.loc[:1] for q in problems}]
    if problems or config is None or components is None:
        raise config_error(problems, places)
    return Loaded(config, components, places, base)


def _plain(node: yaml.Node, path: Path, loc: Loc, marks: dict[Loc, str]) -> Any:  # noqa: ANN401  YAML values
    """Return a node's value, noting where each key stands and refusing keys given twice."""
    marks.setdefault(loc, f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}")
    if isinstance(node, yaml.MappingNode):
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _plain(key_node, path, (*loc, "?"), {})
            where = f"{path}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            if key in out:
                raise ConfigError(f"{where}: '{key}' is given twice; keep one")
            marks[(*loc, key)] = where
            out[key] = _plain(value_node, path, (*loc, key), marks)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, path, (*loc, i), marks) for i, child in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:  # noqa: ANN401  YAML values
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _override(values: dict[str, Any], text: str, marks: dict[Loc, str]) -> None:
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {text}: write it as key.path=value, such as train.lr=0.1")
    target = values
    for depth, key in enumerate(keys[:-1]):
        inner = target.get(key, {})
        if isinstance(inner, str):
            inner = {"kind": inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {text}: '{'.'.join(keys[: depth + 1])}' is not a section")
        target[key] = {**inner}
        target = target[key]
    try:
        target[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: '{value}' is not a YAML value") from error
    for loc in [m for m in marks if m[: len(keys)] == tuple(keys)]:
        del marks[loc]
    marks[tuple(keys)] = f"--set {text}"


def _problem(error: Any) -> Problem:  # noqa: ANN401  pydantic's error mapping
    loc: Loc = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return Problem(loc, f"no such key; {nearest(str(loc[-1]), _known(loc[:-1]))}")
    if error["type"] == "missing":
        return Problem(loc, "this key is needed")
    message = error["msg"].removeprefix("Value error, ")
    return Problem(loc, f"{message[0].lower()}{message[1:]}, got {error['input']!r}"[:300])


def _known(loc: Loc) -> list[str]:
    section: type[BaseModel] = Config
    for key in loc:
        field: FieldInfo = section.model_fields[str(key)]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = field.annotation
    return list(section.model_fields)
