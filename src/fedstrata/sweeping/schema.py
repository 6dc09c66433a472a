"""The keys of a sweep's file: a base configuration, and what differs by budget, method and seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from fedstrata.parsing.section import Section

EVERY = "all"
"""What a method says that runs under all budgets."""

Changes = dict[str, Any]
"""What differs from the base configuration: keys, nested or as paths such as ``train.lr``."""


class MethodSection(Section, frozen=True):
    """One method, or with a grid one per point of it.

    Attributes:
        set: What differs from the base.
        grid: Values to try by path; every combination becomes a method, named after it.
        budgets: Names of the budgets that it runs under, or ``all``; the first budget if left out.
        seeds: Some of the sweep's seeds; all if left out.
        each_client: Train every client alone, one run each; they count as one.
    """

    set: Changes = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    budgets: list[str] | None = None
    seeds: list[int] | None = None
    each_client: bool = False

    @field_validator("seeds", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return seeds_listed(value)

    @field_validator("budgets", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("grid")
    @classmethod
    def _not_empty(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        empty = [key for key, values in value.items() if not values]
        if empty:
            raise ValueError(f"'{empty[0]}' has no values to try; give some, or leave it out")
        return value


class SweepSection(Section, frozen=True):
    """A whole sweep.

    Attributes:
        row: What is compared: the row of a table of results.
        size: Size of the experiment, such as ``small``.
        config: The base configuration: a file, from this file's folder, or its content.
        output: Folder of the runs, from the current folder; by default ``runs/sweeps/<row>-<size>``.
        results: The table of results is written here too; a CSV file, from this file's folder.
        target: Accuracy whose price in bytes and operations is told.
        reference: The method that others are compared with.
        seeds: A list, or ``{from: 0, count: 6}``.
        set: What differs from the base in all runs.
        budgets: What differs by budget; the first is that of methods which name none.
        methods_from: A file of methods, from this file's folder, that several sweeps share; they come first, and
            ``methods`` adds to them or replaces one.
        methods: What differs by method.
        keep_models: Keep the model and the checkpoints of each run that has finished.
    """

    row: str
    size: str = "full"
    config: str | dict[str, Any]
    output: str | None = None
    results: str | None = None
    target: float | None = Field(default=None, gt=0, le=1)
    reference: str | None = None
    seeds: list[int] = Field(default_factory=lambda: [0])
    set: Changes = Field(default_factory=dict)
    budgets: dict[str, Changes | None] = Field(default_factory=lambda: dict[str, Changes | None](default=None))
    methods_from: str | None = None
    methods: dict[str, MethodSection | None] = Field(default_factory=dict)
    keep_models: bool = True

    @field_validator("seeds", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return seeds_listed(value)

    @field_validator("budgets")
    @classmethod
    def _some(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("has to name at least one, or be left out")
        return value


def seeds_listed(value: object) -> object:
    """Return ``{from: 0, count: 6}`` as the list that it stands for, and anything else as it is.

    Raises:
        ValueError: The mapping is another, or seeds are missing, negative or given twice.

    Example:
        >>> seeds_listed({"from": 3, "count": 2})
        [3, 4]
    """
    if isinstance(value, Mapping):
        first, count = value.get("from", 0), value.get("count")
        if set(value) - {"from", "count"} or type(first) is not int or type(count) is not int:
            raise ValueError("a range of seeds is {from: 0, count: 6}, both whole numbers")
        if count < 1 or first < 0:
            raise ValueError("a range of seeds begins at 0 or above and has a count of at least 1")
        return list(range(first, first + count))
    if isinstance(value, list):
        if not value:
            raise ValueError("has to hold at least one seed")
        if len({str(seed) for seed in value}) < len(value):
            raise ValueError("names a seed twice; keep one")
    return value
