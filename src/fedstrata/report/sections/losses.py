"""The strip of losses: rounds from left to right, a row per reason, abandoned attempts on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fedstrata.domain.formatting import plural
from fedstrata.report.blocks import Picture
from fedstrata.report.figures.grid import Cell, Grid, bins, draw, level_of_share
from fedstrata.report.losses import BEFORE, in_order
from fedstrata.runs.records import Run

_MOST_ROUNDS = 60
_TOP = "abandoned"


def strip(run: Run, losses: Mapping[int, Counter[str]]) -> Picture:
    """Return how often each reason stands in each round; rounds share a column where there are too many."""
    rounds = sorted({r.round for r in run.log.rounds} | {a.round for a in run.log.abandoned})
    parts = [[rounds[i] for i in part] for part in bins(len(rounds), limit=_MOST_ROUNDS)]
    labels = tuple(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)
    counts = [sum((losses.get(r, Counter()) for r in part), Counter()) for part in parts]
    present = {reason for count in losses.values() for reason in count}
    reasons = in_order(present)
    most = max((n for count in counts for n in count.values()), default=1)
    cells = [
        [_cell(count[reason], most, f"{reason}, round {label}") for count, label in zip(counts, labels, strict=True)]
        for reason in reasons
    ]
    if run.log.abandoned:
        cells.insert(0, [_attempts(run, part, label) for part, label in zip(parts, labels, strict=True)])
    rows = ([_TOP] if run.log.abandoned else []) + reasons
    grid = Grid(rows, labels, cells, ("reason", "round"), "none", f"1 to {most}" if most > 1 else "1")
    title = f"{run.log.header.method}: what did not count, by reason and round"
    return Picture(draw(grid, title=title, description=_summary(losses)), _caption(run, losses), wide=True)


def _cell(count: int, most: int, where: str) -> Cell:
    return Cell(level_of_share(count / most), f"{where}: {count}", str(count) if count else "")


def _attempts(run: Run, part: Sequence[int], label: str) -> Cell:
    count = sum(a.round in part for a in run.log.abandoned)
    given_up = any(r in part for r in run.log.skipped)
    ending = ", then given up" if given_up else ""
    tip = f"round {label}: {plural(count, 'attempt')} abandoned{ending}"
    return Cell(level_of_share(min(count, 1)), tip, str(count) if count else "", alarm=given_up)


def _caption(run: Run, losses: Mapping[int, Counter[str]]) -> str:
    before = losses.get(BEFORE, Counter()).total()
    parts = ["What did not count, by round: clients, layers, messages, evaluations."]
    if run.log.abandoned:
        given_up = "; an exclamation mark is a round that was given up" if run.log.skipped else ""
        parts.append(f"The top row counts abandoned attempts{given_up}.")
    if before:
        parts.append(f"What did not count before the first round ({before}) is not drawn.")
    return " ".join(parts)


def _summary(losses: Mapping[int, Counter[str]]) -> str:
    """Return the sums as text, for screen readers."""
    total = sum(losses.values(), Counter())
    return "Over all: " + ", ".join(f"{reason} {count}" for reason, count in sorted(total.items()))
