"""Paired: methods side by side over seeds, as tables, differences with intervals, costs, clients and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedstrata.comparison.methods import Contest, Line
from fedstrata.comparison.outcome import Outcome
from fedstrata.comparison.pareto import Standing, frontier
from fedstrata.domain.formatting import NOTHING, listing, percent, plural, short_names
from fedstrata.report.blocks import Block, Fold, Key, Note, Picture, Pictures, Text
from fedstrata.report.compare_tables import (
    difference_shown,
    layer_names,
    layer_shares,
    p_shown,
    sheets,
    whole_percent,
)
from fedstrata.report.figures.axes import POINTS, SHARE, Axis
from fedstrata.report.figures.dot_rows import Row, row_chart
from fedstrata.report.figures.grid import Cell, Grid, draw, level_of_share
from fedstrata.report.sections.frontier import against_cost, standing

_MOST_NAMED = 8
"""Methods beyond which plots number them, since styles repeat."""

_MOST_LABELLED = 16
"""Methods beyond which a plot of costs names the frontier and the reference alone, so that labels keep apart."""

_BEST, _MEDIAN, _WORST = 2, 0, 4
"""Styles whose marks point up, nowhere and down."""


def paired_blocks(contest: Contest, styles: Mapping[str, int]) -> tuple[Block, ...]:
    """Return all that is shown of one contest; see ``tests/report/test_report_compare_html.py``.

    Args:
        contest: The methods.
        styles: By method the index of its mark, the same everywhere in the page.
    """
    accuracy, costs, *rest = sheets(contest)
    notes = tuple(Note(note) for note in contest.notes)
    folds = tuple(Fold(sheet.caption, (sheet,)) for sheet in rest)
    return (
        *notes,
        accuracy,
        *difference_blocks(contest),
        *_tradeoffs(contest, styles),
        *_clients(contest),
        costs,
        *_heatmap(contest),
        *folds,
    )


def difference_blocks(contest: Contest) -> tuple[Block, ...]:
    """Return the differences to the reference with their intervals as a plot, where there is one."""
    others = [line for line in contest.lines if line.label != contest.reference]
    if contest.reference is None or not any(line.against for line in others):
        return ()
    rows = [_difference(line, _name(line, contest)) for line in others]
    description = "; ".join(f"{row.label} {row.text}" for row in rows)
    picture = row_chart(
        rows,
        axis=Axis(f"difference in accuracy to {contest.reference}", POINTS),
        title=f"{contest.title}: differences to {contest.reference}",
        description=description,
    )
    caption = (
        f"Right of the dashed line a method is better than {contest.reference}. Lines with ends are intervals, "
        "dashed ones the range over too few seeds."
    )
    return (Pictures((Picture(picture, caption, wide=True),)),)


def _difference(line: Line, name: str) -> Row:
    pair = line.against
    if pair is None:
        return Row(name, (), text="no seed in both")
    found = pair.difference
    text = difference_shown(pair)
    p = "" if pair.p is None else f", p {p_shown(pair.p)}, Holm {p_shown(line.adjusted)}"
    tip = f"{line.label}: {text} points over {plural(len(pair.seeds), 'seed')}{p}"
    ends = (found.low, found.high) if found.low < found.high else None
    return Row(name, ((found.mean, _MEDIAN, tip),), text, ends, found.kind == "interval")


def _number(line: Line, contest: Contest) -> str:
    return str(contest.lines.index(line) + 1)


def _name(line: Line, contest: Contest) -> str:
    """Return a method's name in a plot, after its number where names are many."""
    return f"{_number(line, contest)} {line.label}" if len(contest.lines) > _MOST_NAMED else line.label


@dataclass(frozen=True, slots=True)
class _Price:
    unit: str
    name: str
    axis: str
    of: Callable[[Outcome], float | None]


_PRICES = (
    _Price("bytes_up", "upload", "uploaded by all clients", lambda o: o.bytes_up),
    _Price("flops", "compute", "FLOPs of all clients, predicted", lambda o: o.flops),
)


def _tradeoffs(contest: Contest, styles: Mapping[str, int]) -> tuple[Block, ...]:
    """Return accuracy against upload and against operations, where two methods or more have both."""
    pictures, texts = [], []
    for price in _PRICES:
        own = [
            standing(line.label, styles[line.method], price.unit, ((price.of(o), o.accuracy) for o in line.outcomes))
            for line in contest.lines
        ]
        points = [point for point in own if point is not None]
        if len(points) < 2:
            continue
        pictures.append(_tradeoff(contest, price, points))
        absent = [line.label for line, point in zip(contest.lines, own, strict=True) if point is None]
        if absent:
            texts.append(Text(f"Without accuracy or a cost ({price.name}): {listing(absent)}."))
    if not pictures:
        return ()
    key = Key(tuple((_name(line, contest), styles[line.method]) for line in contest.lines))
    return (key, Pictures(tuple(pictures)), *texts)


def _tradeoff(contest: Contest, price: _Price, points: Sequence[Standing]) -> Picture:
    best = [point.label for point in frontier(points)]
    named = "" if len(contest.lines) <= _MOST_LABELLED else ", the frontier and the reference named"
    return against_cost(
        points,
        x=Axis(price.axis, price.unit),
        y="accuracy",
        title=f"{contest.title}: accuracy against {price.axis}",
        caption=f"Accuracy against {price.name}{named}",
        beside=lambda label: _beside(label, best, contest),
    )


def _beside(label: str, best: Sequence[str], contest: Contest) -> str:
    """Return what stands beside a point: its name, its number where names are many, nothing where points are."""
    if len(contest.lines) <= _MOST_NAMED:
        return label
    if len(contest.lines) <= _MOST_LABELLED:
        return _number(next(line for line in contest.lines if line.label == label), contest)
    return label if label in best or label == contest.reference else ""


def _clients(contest: Contest) -> tuple[Block, ...]:
    """Return worst, median and best client of each method, where one has them."""
    rows = [_spread(line, _name(line, contest)) for line in contest.lines]
    if not any(row.marks for row in rows):
        return ()
    picture = row_chart(
        rows,
        axis=Axis("accuracy on the client's own held-out rows, mean over seeds", SHARE),
        title=f"{contest.title}: worst, median and best client",
        description="; ".join(f"{row.label} {row.text}" for row in rows),
    )
    key = Key((("best client", _BEST), ("median client", _MEDIAN), ("worst client", _WORST)))
    return (key, Pictures((Picture(picture, "Worst, median and best client of each method.", wide=True),)))


def _spread(line: Line, name: str) -> Row:
    means = (
        ("worst", _WORST, line.mean(lambda o: o.worst_client)),
        ("median", _MEDIAN, line.mean(lambda o: o.median_client)),
        ("best", _BEST, line.mean(lambda o: o.best_client)),
    )
    known = [(word, style, mean) for word, style, mean in means if mean is not None]
    if not known:
        return Row(name, (), text="no rows held out")
    marks = tuple((mean, style, f"{line.label}, {word} client: {percent(mean)}") for word, style, mean in known)
    shares = [mean for _, _, mean in known]
    text = " / ".join(f"{100 * share:.1f}" for share in shares)
    return Row(name, marks, text, (min(shares), max(shares)))


def _heatmap(contest: Contest) -> tuple[Block, ...]:
    """Return how often each method trained each layer."""
    names = layer_names(contest)
    if not names or not contest.lines:
        return ()
    short = short_names(names, bare=True)
    cells = []
    for line in contest.lines:
        own = layer_shares(line)
        cells.append([_cell(own.get(n), f"{line.label}, {s}") for n, s in zip(names, short, strict=True)])
    rows = tuple(_name(line, contest) for line in contest.lines)
    grid = Grid(rows, short, cells, ("method", "layer"), "never", "of client-rounds, to 100%")
    title = f"{contest.title}: how often each method trained each layer"
    drawn = draw(grid, title=title, description=f"{plural(len(rows), 'method')}, {plural(len(names), 'layer')}")
    return (Pictures((Picture(drawn, "Share of client-rounds in which each layer was trained, in %.", wide=True),)),)


def _cell(share: float | None, where: str) -> Cell:
    if share is None:
        return Cell(None, f"{where}: {NOTHING}")
    return Cell(level_of_share(share), f"{where}: {percent(share)}", whole_percent(share) if share else "")
