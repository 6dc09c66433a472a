"""Rounds whose error was measured, as rows of a table, and how far error and bound go with what the rounds gained."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite
from pathlib import Path

import numpy as np
from scipy import stats

from fedstrata.errors import DataError
from fedstrata.files import write_atomic
from fedstrata.runs.records import Run
from fedstrata.tables.csv_text import csv_text, text_of


@dataclass(frozen=True, slots=True)
class TheoryLine:
    """One round.

    Attributes:
        row: Which experiment it belongs to.
        method: Name of the method.
        budget: Of its clients, in words.
        seed: Of its run.
        round: Number of the round, from 1.
        loss_before: f at its start; ``None`` where it was not measured.
        loss_after: f at its end.
        error: E_t.
        missing_layers: E_t1.
        wrong_weights: E_t2.
        estimated: Whether these come from sketches.
    """

    row: str
    method: str
    budget: str
    seed: int
    round: int
    loss_before: float | None
    loss_after: float | None
    error: float
    missing_layers: float
    wrong_weights: float
    estimated: bool

    @property
    def bound(self) -> float:
        """``E_t1 + E_t2``."""
        return self.missing_layers + self.wrong_weights

    @property
    def decrease(self) -> float | None:
        """By how much the round lowered f; ``None`` where that was not measured."""
        return None if self.loss_before is None or self.loss_after is None else self.loss_before - self.loss_after


@dataclass(frozen=True, slots=True)
class Correlation:
    """How far a quantity goes with the decrease of f over rounds; -1 is against, 0 is not at all.

    Attributes:
        rounds: How many rounds were compared.
        pearson: Of the numbers; ``None`` of fewer than three rounds, or where all are equal.
        spearman: Of their ranks; likewise.
    """

    rounds: int
    pearson: float | None
    spearman: float | None


_MEASURED = ("loss_before", "loss_after", "error", "missing_layers", "wrong_weights", "estimated")
"""What a line takes from a round's record."""


def theory_lines(run: Run, row: str, method: str, budget: str, seed: int) -> list[TheoryLine]:
    """Return a run's rounds whose error was measured.

    Args:
        run: The run.
        row: Which experiment it belongs to.
        method: Name of the method.
        budget: Of its clients, in words.
        seed: Of the run.

    Example:
        See ``tests/report/test_theory_table.py``.
    """
    return [
        TheoryLine(row, method, budget, seed, record.round, *(getattr(record.theory, name) for name in _MEASURED))
        for record in run.log.committed
        if record.theory is not None
    ]


def write_theory(path: Path, lines: Sequence[TheoryLine]) -> None:
    """Write lines as CSV, at once; numbers keep all their digits, and what was not measured is empty.

    Example:
        See ``tests/report/test_theory_table.py``.
    """
    names = [field.name for field in fields(TheoryLine)]
    write_atomic(path, csv_text(names, map(astuple, lines)), shared=True)


def read_theory(path: Path) -> list[TheoryLine]:
    """Return the lines that ``write_theory`` wrote.

    Raises:
        DataError: The file is no such table.

    Example:
        See ``tests/report/test_theory_table.py``.
    """
    names = [field.name for field in fields(TheoryLine)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        if head != names:
            raise ValueError(f"its columns are {', '.join(head)[:80]}")
        return [_line(dict(zip(names, row, strict=True))) for row in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no table of measured errors: {error}; write it with write_theory") from error


def _line(values: Mapping[str, str]) -> TheoryLine:
    if values["estimated"] not in ("True", "False"):
        raise ValueError(f"'{values['estimated'][:20]}' in column estimated is neither True nor False")
    return TheoryLine(
        text_of(values["row"]),
        text_of(values["method"]),
        text_of(values["budget"]),
        int(values["seed"]),
        int(values["round"]),
        float(values["loss_before"]) if values["loss_before"] else None,
        float(values["loss_after"]) if values["loss_after"] else None,
        float(values["error"]),
        float(values["missing_layers"]),
        float(values["wrong_weights"]),
        values["estimated"] == "True",
    )


def correlation(lines: Sequence[TheoryLine], of: Callable[[TheoryLine], float]) -> Correlation:
    """Return how a quantity goes with the decrease of f over the rounds that have both.

    Example:
        See ``tests/report/test_theory_table.py``.
    """
    pairs = [(of(line), line.decrease) for line in lines if line.decrease is not None]
    found = np.array([(x, y) for x, y in pairs if isfinite(x) and isfinite(y)]).reshape(-1, 2)
    if len(found) < 3 or (np.ptp(found, axis=0) == 0).any():
        return Correlation(len(found), None, None)
    x, y = found.T
    return Correlation(len(found), float(np.corrcoef(x, y)[0, 1]), float(stats.spearmanr(x, y).statistic))


def within_rounds(lines: Sequence[TheoryLine], of: Callable[[TheoryLine], float]) -> float | None:
    """Return how far a quantity's ranks go with the decrease's among runs that are in the same round.

    Gradients and gains both shrink as a run goes on, so over all rounds they go together whatever the method does.
    Here each is ranked within a round of one row and seed, and the ranks, less their mean, are correlated over all such
    rounds together: -1 says that of runs side by side the one with more of the quantity gains less.

    Args:
        lines: Rounds of several runs.
        of: The quantity.

    Returns:
        ``None`` where no round has two runs that differ in both.

    Example:
        See ``tests/report/test_theory_table.py``.
    """
    rounds: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for line in lines:
        if line.decrease is not None and isfinite(of(line)) and isfinite(line.decrease):
            rounds.setdefault((line.row, line.seed, line.round), []).append((of(line), line.decrease))
    if not rounds:
        return None
    ranks = [stats.rankdata(np.array(pairs), axis=0) for pairs in rounds.values()]
    x, y = np.concatenate([of_round - of_round.mean(axis=0) for of_round in ranks]).T
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else None
