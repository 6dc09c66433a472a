"""Methods under budgets: what each adds to the base configuration, checked once for all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.assembly.provenance import resolved_values
from fedstrata.config.changes import change
from fedstrata.config.load import Loaded, check_config
from fedstrata.errors import ConfigError
from fedstrata.parsing.problems import Loc, Marks, Problem, config_error
from fedstrata.sweeping.names import grid_points
from fedstrata.sweeping.schema import EVERY, MethodSection, SweepSection

OWN_KEYS = {"seed": "the key 'seeds' of the sweep", "output": "the sweep itself", "name": "the name of the method"}
"""Keys of a configuration that a sweep sets, and what they follow from."""

Clients = Callable[[Loaded], Sequence[str]]
"""Returns the names of a configuration's clients."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The base configuration.

    Attributes:
        values: Its plain values.
        marks: Where they stand.
        folder: Where its relative paths start from.
    """

    values: Mapping[str, Any]
    marks: Marks
    folder: Path


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One method under one budget: runs that differ in nothing but the seed, or the client that trains alone.

    Attributes:
        method: Name of the method; that of a grid's point holds its values.
        family: Name in the file.
        budget: Name of the budget.
        seeds: Its seeds.
        alone: Whether each client trains alone.
        runs: Configuration with every default written out, by client that trains alone; ``None`` is all together.
        marks: Where its values stand.
    """

    method: str
    family: str
    budget: str
    seeds: tuple[int, ...]
    alone: bool
    runs: Mapping[str | None, Mapping[str, Any]]
    marks: Marks


@dataclass(frozen=True, slots=True)
class _Plan:
    """A cell that is not checked yet; ``path`` is the method's place in the file."""

    method: str
    family: str
    budget: str
    section: MethodSection
    point: Mapping[str, Any]


def cells_of(
    section: SweepSection, base: Base, places: Marks, *, overrides: Sequence[str], clients: Clients
) -> tuple[Cell, ...]:
    """Return all cells in the order of the file: method, then budget.

    Args:
        section: The sweep's own keys.
        base: The base configuration.
        places: Where the values of the sweep's file stand.
        overrides: Texts such as ``train.lr=0.1``, for all runs.
        clients: Asked where each client trains alone.

    Raises:
        ConfigError: Every problem of every cell, each once.
    """
    cells: list[Cell] = []
    said: dict[str, list[str]] = {}
    plans = list(_plans(section))
    for plan in plans:
        try:
            cells.append(_cell(plan, section, base, places, overrides=overrides, clients=clients))
        except ConfigError as error:
            for line in str(error).splitlines():
                said.setdefault(line, []).append(plan.method)
    if said:
        raise ConfigError("\n".join(_blaming(line, methods, len(plans)) for line, methods in said.items()))
    return tuple(cells)


def _blaming(line: str, methods: Sequence[str], cells: int) -> str:
    """Return a problem with the method that has it, unless all have it."""
    return line if len(methods) == cells else f"{line} (method '{methods[0]}')"


def _plans(section: SweepSection) -> Iterator[_Plan]:
    every = list(section.budgets)
    for family, given in section.methods.items():
        own = given or MethodSection()
        under = every if EVERY in (own.budgets or ()) else dict.fromkeys(own.budgets or every[:1])
        for method, point in grid_points(family, own.grid):
            for budget in under:
                yield _Plan(method, family, budget, own, point)


def _cell(
    plan: _Plan, section: SweepSection, base: Base, places: Marks, *, overrides: Sequence[str], clients: Clients
) -> Cell:
    seeds = tuple(plan.section.seeds or section.seeds)
    values, marks = _merged(plan, section, base, places)
    _check_engine(values.get("engine"), marks)
    values |= {"name": plan.method, "seed": seeds[0], "output": None}
    loaded = check_config(values, overrides=overrides, marks=marks, base=base.folder)
    _check_engine(loaded.config.engine, loaded.marks)
    names: Sequence[str | None] = clients(loaded) if plan.section.each_client else (None,)
    runs = {name: resolved_values(loaded if name is None else _alone(loaded, name)) for name in names}
    return Cell(plan.method, plan.family, plan.budget, seeds, plan.section.each_client, runs, loaded.marks)


def _merged(plan: _Plan, section: SweepSection, base: Base, places: Marks) -> tuple[dict[str, Any], dict[Loc, str]]:
    """Return the values of a cell, the later stronger: base, sweep, budget, method, point of the grid."""
    values, marks = dict(base.values), dict(base.marks)
    layers: list[tuple[Loc, Mapping[str, Any]]] = [
        (("set",), section.set),
        (("budgets", plan.budget), section.budgets[plan.budget] or {}),
        (("methods", plan.family, "set"), plan.section.set),
        (("methods", plan.family, "grid"), plan.point),
    ]
    for at, changes in layers:
        inner = {loc[len(at) :]: place for loc, place in places.items() if loc[: len(at)] == at}
        _check_own_keys(changes, at, places)
        change(values, changes, marks, inner)
    return values, marks


def _check_own_keys(changes: Mapping[str, Any], at: Loc, places: Marks) -> None:
    for key in changes:
        if key in OWN_KEYS:
            message = f"follows from {OWN_KEYS[key]}; leave it out here"
            raise config_error([Problem((*at, key), message)], places)


def _check_engine(engine: object, marks: Marks) -> None:
    if engine == "ray":
        message = "a sweep plays whole runs on a cluster (fedstrata sweep --cluster), not their clients; use local"
        raise config_error([Problem(("engine",), message)], marks)
    if isinstance(engine, str) and engine.startswith("flower"):
        message = f"a sweep plays its runs on this machine, not over {engine}; use local or processes"
        raise config_error([Problem(("engine",), message)], marks)


def _alone(loaded: Loaded, client: str) -> Loaded:
    """Return the configuration in which one client takes part."""
    values = {**resolved_values(loaded), "sampler": {"kind": "only", "clients": [client]}}
    return check_config(values, marks=loaded.marks)
