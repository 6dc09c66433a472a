"""Classes: precision, recall and F1 of each on the server's test rows, and which are mistaken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fedstrata.domain.formatting import NOTHING, listing, percent, plural
from fedstrata.report.blocks import Block, Note, Picture, Pictures, Table, Text, folded
from fedstrata.report.figures.grid import Cell, Grid, counted, draw
from fedstrata.runs.records import Confusion, Run

_MOST_DRAWN = 30
"""Classes up to which every pair is drawn."""
_MOST_LISTED = 20
"""Mistakes that are listed."""
_FEW = 10
"""Test rows of a class below which its numbers are called coarse."""


def classes(run: Run) -> tuple[Block, ...]:
    """Return macro F1, a row per class and the mistakes; nothing where a run has not written them."""
    found = run.confusion
    if found is None or not found.rows:
        return ()
    own = sums(found)
    known = [score for one in own if (score := one.f1) is not None]
    correct = sum(one.hits for one in own)
    text = (
        f"After round {found.round}, on {plural(found.rows, 'test row')}: accuracy {percent(correct / found.rows)}, "
        f"macro F1 {percent(fmean(known))} (the mean of {len(known)} classes' F1, each counting the same)."
    )
    return (Text(text), *_coarse(found, own), *_matrix(run, found, own), _mistakes(found, own), _per_class(found, own))


@dataclass(frozen=True, slots=True)
class Sums:
    """Right answers, rows and predictions of one class."""

    hits: int
    rows: int
    guesses: int

    @property
    def f1(self) -> float | None:
        """Twice the hits over rows and predictions; ``None`` where there are neither."""
        return 2 * self.hits / (self.rows + self.guesses) if self.rows + self.guesses else None


def sums(found: Confusion) -> tuple[Sums, ...]:
    """Return the sums of every class, in one pass over the counts."""
    rows, guesses = Counter[int](), Counter[int]()
    for (true, guess), count in found.counts.items():
        rows[true] += count
        guesses[guess] += count
    return tuple(Sums(found.counts.get((k, k), 0), rows[k], guesses[k]) for k in range(len(found.labels)))


def _coarse(found: Confusion, own: Sequence[Sums]) -> tuple[Note, ...]:
    few = [name for k, name in enumerate(found.labels) if 0 < own[k].rows < _FEW]
    if not few:
        return ()
    return (Note(f"Fewer than {_FEW} test rows, so its numbers are coarse: {listing(few, limit=1)}."),)


def _matrix(run: Run, found: Confusion, own: Sequence[Sums]) -> tuple[Block, ...]:
    if len(found.labels) > _MOST_DRAWN:
        return ()
    cells = []
    for k, name in enumerate(found.labels):
        rows = own[k].rows
        cells.append([_cell(found.counts.get((k, j), 0), rows, name, guess) for j, guess in enumerate(found.labels)])
    grid = Grid(found.labels, found.labels, cells, ("true", "predicted"), "none", "of the class's rows, to 100%")
    title = f"{run.log.header.method}: true classes against predicted ones"
    drawn = draw(grid, title=title, description=f"{plural(found.rows, 'test row')}")
    caption = "Test rows by true class (down) and predicted class (across); the diagonal is right."
    return (Pictures((Picture(drawn, caption, wide=True),)),)


def _cell(count: int, rows: int, true: str, guess: str) -> Cell:
    if not rows:
        return Cell(None, f"{true}: no test row")
    tip = f"{true} predicted as {guess}: {count} of {plural(rows, 'row')}"
    return counted(count, rows, tip)


def _mistakes(found: Confusion, own: Sequence[Sums]) -> Block:
    wrong = sorted(((n, t, g) for (t, g), n in found.counts.items() if t != g), key=lambda m: (-m[0], m[1], m[2]))
    rows = tuple((found.labels[t], found.labels[g], str(n), str(own[t].rows)) for n, t, g in wrong[:_MOST_LISTED])
    head = ("true class", "predicted", "# rows", "# of")
    return folded(Table("The most frequent mistakes", head, rows), limit=0) if rows else Text("No row was mistaken.")


def _per_class(found: Confusion, own: Sequence[Sums]) -> Block:
    rows = []
    for k, name in enumerate(found.labels):
        one = own[k]
        precision = percent(one.hits / one.guesses) if one.guesses else NOTHING
        recall = percent(one.hits / one.rows) if one.rows else NOTHING
        rows.append((name, percent(one.f1), precision, recall, str(one.rows), str(one.guesses)))
    head = ("class", "# F1", "# precision", "# recall", "# test rows", "# predictions")
    return folded(Table("Precision, recall and F1 of each class", head, tuple(rows)), limit=12)
