"""Fairness: how the worst, the median and the best client fare on their own held-out rows."""

from __future__ import annotations

from collections.abc import Mapping

from fedstrata.domain.formatting import NOTHING, percent, plural
from fedstrata.report.blocks import Block, Key, Meter, Note, Picture, Pictures, Table, TableCell, Text, folded
from fedstrata.report.figures.axes import COUNT, SHARE, Axis
from fedstrata.report.figures.lines import Dot, Line, line_chart
from fedstrata.report.outliers import outliers
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import spread_of

FEW_ROWS = 30
"""Held-out rows below which a client's accuracy is called coarse."""

_NAMES = ("best client", "median client", "worst client")
_STYLES = (2, 0, 1)


def fairness(run: Run) -> tuple[Block, ...]:
    """Return the curves of worst, median and best client, and every client's last accuracy."""
    odd = tuple(Note(f"{found}.") for found in outliers(run.log))
    measured = [r for r in run.log.rounds if r.client_accuracy]
    if not measured:
        return (*odd, Text("The clients' own held-out rows were not evaluated."))
    last = measured[-1]
    end = spread_of(last.client_accuracy)
    text = (
        f"After round {last.round} the worst of {plural(len(last.client_accuracy), 'client')} has "
        f"{percent(end.worst)}, the median {percent(end.median)}, the best {percent(end.best)}, "
        "each on its own held-out rows."
    )
    blocks: list[Block] = [*odd, Text(text), *_coarse(run, last.client_accuracy)]
    if len(measured) > 1:
        blocks += _chart(run)
    return (*blocks, _table(run, last.client_accuracy))


def _coarse(run: Run, accuracies: Mapping[str, float]) -> tuple[Note, ...]:
    """Warn of percentages that stand on few rows, where the number of rows is known."""
    card = run.data_card.clients if run.data_card else {}
    rows = {name: card[name].held_out for name in accuracies if name in card}
    few = {name: count for name, count in rows.items() if isinstance(count, int) and 0 < count < FEW_ROWS}
    hidden = [name for name, count in rows.items() if isinstance(count, str)]
    if not few and not hidden:
        return ()
    told = f"{plural(len(few) + len(hidden), 'client')} of {len(accuracies)} held out fewer than {FEW_ROWS} rows"
    if few:
        name = min(few, key=lambda n: (few[n], n))
        told += f", {name} as few as {few[name]}, of which one is {100 / few[name]:.0f} points"
    return (Note(f"{told}: differences between such clients may be chance."),)


def _chart(run: Run) -> list[Block]:
    measured = [(r.round, spread_of(r.client_accuracy)) for r in run.log.rounds if r.client_accuracy]
    lines = []
    for name, style, field in zip(_NAMES, _STYLES, ("best", "median", "worst"), strict=True):
        values = [(n, float(getattr(spread, field))) for n, spread in measured]
        lines.append(Line(name, style, [Dot(n, v, f"{name}, {plural(n, 'round')}: {percent(v)}") for n, v in values]))
    picture = line_chart(
        lines,
        title=f"{run.log.header.method}: accuracy of the worst, median and best client",
        description="; ".join(f"{line.label} ends at {percent(line.dots[-1].y)}" for line in lines),
        x=Axis("rounds", COUNT),
        y=Axis("accuracy on own held-out rows", SHARE),
    )
    key_block = Key(tuple(zip(_NAMES, _STYLES, strict=True)))
    return [key_block, Pictures((Picture(picture, "Worst, median and best client of each round."),))]


def _table(run: Run, accuracies: Mapping[str, float]) -> Block:
    ranked = sorted(accuracies.items(), key=lambda item: (item[1], item[0]))
    held_out = run.data_card.clients if run.data_card else {}
    rows: list[tuple[TableCell, ...]] = []
    for name, accuracy in ranked:
        size = (str(held_out[name].held_out) if name in held_out else NOTHING,) if held_out else ()
        rows.append((name, Meter(percent(accuracy), accuracy), *size))
    head = ("client", "# accuracy", *(("# held-out rows",) if held_out else ()))
    return folded(Table("Clients from worst to best", head, tuple(rows)), limit=12)
