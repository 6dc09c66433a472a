"""Reading a sweep's file: its own keys, and the base configuration that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fedstrata.errors import ConfigError, nearest
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Loc, Marks, Problem, config_error, in_order, problems_of
from fedstrata.parsing.string_checks import odd_texts
from fedstrata.parsing.yaml_file import read_yaml
from fedstrata.sweeping.cells import OWN_KEYS, Base
from fedstrata.sweeping.names import folder_name, name_problem
from fedstrata.sweeping.schema import EVERY, MethodSection, SweepSection


@dataclass(frozen=True, slots=True, eq=False)
class SweepFile:
    """What a sweep's file says.

    Attributes:
        section: Its own keys.
        places: Where its values stand.
        base: The base configuration.
        output: Folder of the runs.
        results: Where else the table of results is written.
    """

    section: SweepSection
    places: Marks
    base: Base
    output: Path
    results: Path | None

    def check_methods(self, cells: Sequence[tuple[str, str]]) -> None:
        """Check that methods, with the points of grids, have names and folders of their own.

        Args:
            cells: Method and budget of all cells.

        Raises:
            ConfigError: Two share one, or the reference is none of them.
        """
        own = list(dict.fromkeys(method for method, _ in cells))
        twice = dict.fromkeys(method for method, budget in cells if cells.count((method, budget)) > 1)
        problems = [Problem(("methods",), f"two methods are called '{name}'; keep one") for name in twice]
        problems += _clashes(own, ("methods",))
        if self.section.reference is not None and self.section.reference not in own:
            message = f"no method is called '{self.section.reference}'; {nearest(self.section.reference, own)}"
            problems.append(Problem(("reference",), message))
        if problems:
            raise config_error(in_order(problems, self.places), self.places)


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepFile:
    """Read a sweep's file and the base configuration that it names.

    Args:
        path: The file.
        overrides: What ``--set`` says; checked for keys that a sweep sets itself.

    Raises:
        ConfigError: Every problem of the sweep's own keys, each with file, line and column.
    """
    values, marks = read_yaml(path)
    places: dict[Loc, str] = {(): f"{path}:1:1", **marks}
    section = _section(_with_shared_methods(values, places, path.parent), places)
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key in OWN_KEYS:
            raise ConfigError(f"override '{text}': '{key}' follows from {OWN_KEYS[key]}; leave it out")
    try:
        output = expanded(section.output or f"runs/sweeps/{section.row}-{section.size}")
        results = None if section.results is None else path.parent / expanded(section.results)
    except ConfigError as error:
        key = "output" if section.output else "results"
        raise config_error([Problem((key,), str(error))], places) from error
    return SweepFile(section, places, _base(section, path, places), output, results)


def _with_shared_methods(values: Mapping[Any, Any], places: dict[Loc, str], folder: Path) -> Mapping[Any, Any]:
    """Return the values with the methods of the file that they name put before their own; places follow."""
    name, own = values.get("methods_from"), values.get("methods") or {}
    if not isinstance(name, str) or not isinstance(own, Mapping):
        return values  # the schema says what is wrong
    shared, marks = _named(name, "methods_from", places, folder)
    places.update({("methods", *loc): place for loc, place in marks.items() if loc and loc[0] not in own})
    return {**values, "methods": {**shared, **own}}


def _named(name: str, key: str, places: Marks, folder: Path) -> tuple[dict[Any, Any], dict[Loc, str]]:
    """Return content and marks of a file that a key names; that it is missing is the key's problem."""
    try:
        file = folder / expanded(name)
    except ConfigError as error:
        raise config_error([Problem((key,), str(error))], places) from error
    try:
        values, marks = read_yaml(file)
    except ConfigError as error:
        if file.is_file():
            raise
        raise config_error([Problem((key,), str(error))], places) from error
    return values, {(): f"{file}:1:1", **marks}


def _section(values: Mapping[Any, Any], places: Marks) -> SweepSection:
    problems = list(odd_texts(values))
    section: SweepSection | None = None
    if not problems:
        try:
            section = SweepSection.model_validate(values)
        except ValidationError as error:
            problems = problems_of(error, values, unknown=_unknown)
    if section is not None:
        problems = list(_problems(section))
    if problems or section is None:
        raise config_error(in_order(problems, places), places)
    return section


def _unknown(loc: Loc) -> str:
    known: type[BaseModel] = MethodSection if loc[0] == "methods" and len(loc) > 1 else SweepSection
    return f"no such key; {nearest(str(loc[-1]), known.model_fields)}"


def _problems(section: SweepSection) -> Iterator[Problem]:
    """Yield what is wrong although each key is of the right type."""
    for key in ("row", "size"):
        if (wrong := name_problem(getattr(section, key))) is not None:
            yield Problem((key,), wrong)
    if not section.methods:
        yield Problem(("methods",), "has to name at least one method")
    yield from _clashes(list(section.methods), ("methods",))
    yield from _clashes(list(section.budgets), ("budgets",))
    yield from (Problem(("seeds",), f"{n} is no seed; the least is 0") for n in section.seeds if n < 0)
    for name, method in section.methods.items():
        at = ("methods", name)
        for budget in (method and method.budgets) or []:
            if budget not in section.budgets and budget != EVERY:
                yield Problem((*at, "budgets"), f"no budget is called '{budget}'; {nearest(budget, section.budgets)}")
        for seed in (method and method.seeds) or []:
            if seed not in section.seeds:
                yield Problem(
                    (*at, "seeds"), f"{seed} is none of the sweep's seeds; add it to 'seeds', or leave it out"
                )


def _clashes(names: Sequence[str], at: Loc) -> Iterator[Problem]:
    """Yield a problem for each name that cannot be one, or whose folder is another's."""
    taken: dict[str, str] = {"results.csv": "the table of results"}
    for name in names:
        folder = folder_name(name).casefold()
        if (wrong := name_problem(name)) is not None:
            yield Problem((*at, name), wrong)
        elif folder in taken:
            yield Problem((*at, name), f"'{name}' would have the same folder as {taken[folder]}; rename one")
        taken[folder] = f"'{name}'"


def _base(section: SweepSection, path: Path, places: Marks) -> Base:
    if not isinstance(section.config, str):
        inner = {loc[1:]: place for loc, place in places.items() if loc[:1] == ("config",)}
        return Base(section.config, inner, path.parent)
    values, marks = _named(section.config, "config", places, path.parent)
    return Base(values, marks, (path.parent / expanded(section.config)).parent)
