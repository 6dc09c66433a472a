"""Cost and accuracy: what each method's accuracy cost the clients, and which methods no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedstrata.comparison.grouping import Group, Series, final_accuracy, uploaded
from fedstrata.comparison.pareto import Standing, alike, frontier
from fedstrata.comparison.totals import client_seconds, predicted_flops
from fedstrata.domain.formatting import listing, percent, quantity
from fedstrata.report.blocks import Block, Key, Picture, Pictures, Text
from fedstrata.report.figures.axes import Axis
from fedstrata.report.figures.tradeoff import tradeoff
from fedstrata.report.sections.verdict import measured_on
from fedstrata.runs.records import Run


@dataclass(frozen=True, slots=True)
class _Price:
    """One plot: what accuracy is set against, and why a method may have no such number."""

    unit: str
    name: str
    axis: str
    of: Callable[[Run], float | None]
    missing: str = ""


_PRICES = (
    _Price("bytes_up", "upload", "uploaded by all clients", uploaded),
    _Price("flops", "compute", "FLOPs of all clients, predicted", predicted_flops, "no predicted FLOPs in the log"),
    _Price(
        "seconds", "time", "time of all clients", lambda run: client_seconds(run) or None, "no measured time in the log"
    ),
)

SAME_COST = "All cost nearly the same (within 5%), so none is named as the cheaper choice."


def costs_and_accuracy(group: Group) -> tuple[Block, ...]:
    """Return one plot per kind of cost, for a group of two methods or more; nothing for a single one."""
    series = [s for s in group.series if s.accuracy is not None]
    if len(series) < 2:
        return ()
    blocks: list[Block] = []
    pictures = []
    for price in _PRICES:
        points = [found for s in series if (found := standing(s, price.unit, price.of)) is not None]
        if len(points) >= 2:
            pictures.append(_picture(group, price, points))
        named = {point.label for point in points}
        without = [s.label for s in series if s.label not in named]
        if without:
            lead = "Not in the plot" if len(points) >= 2 else "No plot"
            blocks.append(Text(f"{lead} of {price.name}: {listing(without)} ({price.missing})."))
    legend = Key(tuple((s.label, s.style) for s in series))
    return (*((legend, Pictures(tuple(pictures))) if pictures else ()), *blocks)


def standing(series: Series, unit: str, cost: Callable[[Run], float | None]) -> Standing | None:
    """Return where a method stands over its runs, or ``None`` where none of them has both cost and accuracy."""
    both = [
        (price, accuracy)
        for run in series.runs
        if (price := cost(run)) is not None and (accuracy := final_accuracy(run)) is not None
    ]
    if not both:
        return None
    prices, accuracies = [p for p, _ in both], [a for _, a in both]
    tip = f"{series.label}: {percent(fmean(accuracies))} for {quantity(unit, fmean(prices))}"
    if len(both) > 1:
        tip += f" (mean of {len(both)} runs: {percent(min(accuracies))} to {percent(max(accuracies))})"
    return Standing(
        series.label,
        series.style,
        fmean(prices),
        fmean(accuracies),
        (min(prices), max(prices)),
        (min(accuracies), max(accuracies)),
        tip,
    )


def _picture(group: Group, price: _Price, points: Sequence[Standing]) -> Picture:
    best = frontier(points)
    told = f"{'Frontier' if len(best) > 1 else 'Best at the least cost'}: {listing([p.label for p in best], limit=6)}."
    if alike(points):
        told = SAME_COST
    bars = " Bars run over the seeds." if any(p.accuracies[0] < p.accuracies[1] for p in points) else ""
    name = measured_on(group)
    drawn = tradeoff(
        points,
        x=Axis(price.axis, price.unit),
        y="accuracy" if name.endswith("accuracy") else "accuracy on held-out rows",
        title=f"{group.label}: {name} against {price.axis}",
        description=f"{told} " + "; ".join(point.tip for point in points),
    )
    caption = f"{name.capitalize()} against {price.name}: further left is cheaper. {told}{bars}"
    return Picture(drawn, caption, small=True)
