"""Checking a configuration: overrides, schema and components, and every problem said at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from fedstrata.config.changes import override
from fedstrata.config.components import Components, build_components
from fedstrata.config.flower import flower_problems
from fedstrata.config.schema import Config
from fedstrata.errors import ConfigError, nearest
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Loc, Marks, Problem, config_error, in_order, problems_of
from fedstrata.parsing.string_checks import odd_texts
from fedstrata.parsing.yaml_file import read_yaml

T = TypeVar("T")


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

    def at(self, loc: Loc, work: Callable[[], T]) -> T:
        """Do a piece of work; its errors get the place of a key in the file.

        Raises:
            ConfigError: The work raised one.
        """
        try:
            return work()
        except ConfigError as error:
            raise config_error([Problem(loc, str(error))], self.marks) from error


def load_config(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and check a YAML file.

    Args:
        path: The file.
        overrides: Texts such as ``train.lr=0.1``; the value is read as YAML.

    Raises:
        ConfigError: Every problem, each with file, line and column.
    """
    values, marks = read_yaml(path)
    return check_config(values, overrides=overrides, marks={(): f"{path}:1:1", **marks}, base=path.parent)


def check_config(
    values: Mapping[str, Any], *, overrides: Sequence[str] = (), marks: Marks | None = None, base: Path = Path()
) -> Loaded:
    """Check a configuration given as plain values; an empty section is one that is left out.

    Raises:
        ConfigError: Every problem, with its place if it is known.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides are a list of texts, such as ['train.lr=0.1']; got one text, '{overrides[:80]}'")
    merged: dict[str, Any] = {**values}
    places = dict(marks or {})
    for text in overrides:
        override(merged, text, places)
    merged = {key: value for key, value in merged.items() if value is not None or key not in Config.model_fields}
    problems = list(odd_texts(merged))
    if problems:
        raise config_error(in_order(problems, places), places)
    config: Config | None = None
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems = problems_of(error, merged, unknown=_unknown)
    if isinstance(merged.get("base"), str):
        try:
            base = base / expanded(merged["base"])
        except ConfigError as error:
            raise config_error([Problem(("base",), str(error))], places) from error
    components, more = build_components(merged, base)
    better = {p.loc[:1] for p in more}
    problems = [p for p in problems if p.loc[:1] not in better] + more
    problems += flower_problems(config.engine, config.flower) if config else []
    if problems or config is None or components is None:
        raise config_error(in_order(problems, places), places)
    return Loaded(config, components, places, base)


def _unknown(loc: Loc) -> str:
    section: type[BaseModel] = Config
    for key in loc[:-1]:
        given = section.model_fields[str(key)].annotation
        section = next(a for a in (given, *get_args(given)) if isinstance(a, type) and issubclass(a, BaseModel))
    return f"no such key; {nearest(str(loc[-1]), section.model_fields)}"
