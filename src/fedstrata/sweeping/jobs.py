"""A sweep's file to the runs that it stands for: everything is checked, and every problem said, before any run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from fedstrata.errors import ConfigError, nearest
from fedstrata.parsing.problems import Marks
from fedstrata.sweeping.cells import Cell, Clients, cells_of
from fedstrata.sweeping.file import read_sweep
from fedstrata.sweeping.names import folder_name

TABLE = "results.csv"
"""The table of results in a sweep's folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run of a sweep.

    Attributes:
        cell: What it shares with the runs of other seeds.
        client: The client that trains alone; ``None`` where all take part.
        folder: Its run folder.
        values: Its configuration, every default written out.
    """

    cell: Cell
    seed: int
    client: str | None
    folder: Path
    values: dict[str, Any]

    @property
    def rounds(self) -> int:
        """How many rounds it has."""
        rounds: int = self.values["train"]["rounds"]
        return rounds

    def config(self, folder: Path | None = None) -> str:
        """Return its configuration as YAML.

        Args:
            folder: Its run folder as others have to call it; ``None`` is as it is.
        """
        values = self.values if folder is None else {**self.values, "output": str(folder)}
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text

    @property
    def marks(self) -> Marks:
        """Where its values stand."""
        return self.cell.marks

    @property
    def title(self) -> str:
        """The run in a few words."""
        alone = [] if self.client is None else [self.client]
        return "  ".join((self.cell.method, self.cell.budget, f"seed {self.seed}", *alone))


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A checked sweep.

    Attributes:
        file: Its file.
        row: The row of a table of results.
        size: Size of the experiment.
        output: Folder of all runs, and of the table of results.
        results: Where else the table is written; ``None`` where it is not.
        spared: Where it would be written, but for values or an output that were overridden.
        target: Accuracy whose price in bytes and operations is told.
        reference: The method that others are compared with.
        keep_models: Whether finished runs keep their model and checkpoints.
        jobs: All runs, in the order of the table: method, budget, seed, client.
        seeds: All seeds, in the order of the file.
    """

    file: Path
    row: str
    size: str
    output: Path
    results: Path | None
    spared: Path | None
    target: float | None
    reference: str | None
    keep_models: bool
    jobs: tuple[Job, ...]
    seeds: tuple[int, ...]

    @property
    def tables(self) -> tuple[Path, ...]:
        """Where the table of results is written."""
        return (self.output / TABLE, *([] if self.results is None else [self.results]))

    def chosen(self, patterns: Sequence[str], seeds: Sequence[int] = ()) -> tuple[Job, ...]:
        """Return some of the jobs in the order in which they are played: seed by seed, so that data is shared.

        Args:
            patterns: Names of methods, with ``*`` and ``?``; the name of a grid means all its points. None is all.
            seeds: None is all.

        Raises:
            ConfigError: A pattern matches no method, or a seed is none of the sweep's.
        """
        for pattern in patterns:
            if not any(_matches(job, pattern) for job in self.jobs):
                names = dict.fromkeys(name for j in self.jobs for name in (j.cell.family, j.cell.method))
                raise ConfigError(f"--only {pattern}: no method is called so; {nearest(pattern, names)}")
        for seed in seeds:
            if seed not in self.seeds:
                raise ConfigError(f"--seed {seed}: the sweep has {', '.join(map(str, self.seeds))}")
        named = [j for j in self.jobs if not patterns or any(_matches(j, p) for p in patterns)]
        chosen = [j for j in named if not seeds or j.seed in seeds]
        return tuple(sorted(chosen, key=lambda job: self.seeds.index(job.seed)))


def _matches(job: Job, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) or name == pattern for name in (job.cell.method, job.cell.family))


def load_sweep(path: Path, *, overrides: Sequence[str] = (), output: Path | None = None, clients: Clients) -> Sweep:
    """Read a sweep's file and check the configuration of each of its runs.

    Args:
        path: The file.
        overrides: Texts such as ``train.lr=0.1``, for all runs. The table is then written to the output folder alone.
        output: Folder of the runs, instead of the file's; likewise, since the file's table is of the file's folder.
        clients: Returns the clients of a configuration; asked where each of them trains alone.

    Raises:
        ConfigError: Every problem, each with file, line and column.
        DataError: The clients cannot be told, since the data cannot be read.

    Example:
        See ``tests/sweeping/test_sweep_config.py``.
    """
    file = read_sweep(path, overrides)
    section, target = file.section, output or file.output
    elsewhere = bool(overrides) or output is not None
    cells = cells_of(section, file.base, file.places, overrides=overrides, clients=clients)
    file.check_methods([(cell.method, cell.budget) for cell in cells])
    return Sweep(
        file=path,
        row=section.row,
        size=section.size,
        output=target,
        results=None if elsewhere else file.results,
        spared=file.results if elsewhere else None,
        target=section.target,
        reference=section.reference,
        keep_models=section.keep_models,
        jobs=tuple(_jobs(cells, target)),
        seeds=tuple(section.seeds),
    )


def _jobs(cells: Sequence[Cell], output: Path) -> Iterator[Job]:
    for cell in cells:
        at = output / folder_name(cell.method) / folder_name(cell.budget)
        for seed in cell.seeds:
            for client, values in cell.runs.items():
                folder = at / f"s{seed}" / (folder_name(client) if client else "")
                yield Job(cell, seed, client, folder, {**values, "seed": seed, "output": str(folder)})
