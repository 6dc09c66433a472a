"""Cost and accuracy: what each method's accuracy cost the clients, and which methods no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from fedstrata.comparison.grouping import Group, final_accuracy, uploaded
from fedstrata.comparison.pareto import Standing, alike, frontier
from fedstrata.domain.formatting import listing, percent, quantity
from fedstrata.report.blocks import Block, Key, Picture, Pictures, Text
from fedstrata.report.figures.axes import Axis
from fedstrata.report.figures.tradeoff import tradeoff
from fedstrata.report.sections.verdict import measured_on
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import client_seconds, predicted_flops


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
    name = measured_on(group)
    blocks: list[Block] = []
    pictures = []
    for price in _PRICES:
        own = [
            standing(s.label, s.style, price.unit, ((price.of(run), final_accuracy(run)) for run in s.runs))
            for s in series
        ]
        points = [point for point in own if point is not None]
        if len(points) >= 2:
            pictures.append(
                against_cost(
                    points,
                    x=Axis(price.axis, price.unit),
                    y="accuracy" if name.endswith("accuracy") else "accuracy on held-out rows",
                    title=f"{group.label}: {name} against {price.axis}",
                    caption=f"{name.capitalize()} against {price.name}",
                )
            )
        named = {point.label for point in points}
        without = [s.label for s in series if s.label not in named]
        if without:
            lead = "Not in the plot" if len(points) >= 2 else "No plot"
            blocks.append(Text(f"{lead} of {price.name}: {listing(without)} ({price.missing})."))
    legend = Key(tuple((s.label, s.style) for s in series))
    return (*((legend, Pictures(tuple(pictures))) if pictures else ()), *blocks)


def standing(label: str, style: int, unit: str, both: Iterable[tuple[float | None, float | None]]) -> Standing | None:
    """Return where a method stands by cost and accuracy of its runs; ``None`` where no run has both."""
    known = [(cost, accuracy) for cost, accuracy in both if cost is not None and accuracy is not None]
    if not known:
        return None
    costs, accuracies = [cost for cost, _ in known], [accuracy for _, accuracy in known]
    ends = (min(accuracies), max(accuracies))
    tip = f"{label}: {percent(fmean(accuracies))} for {quantity(unit, fmean(costs))}"
    if len(known) > 1:
        tip += f" (mean of {len(known)} runs: {percent(ends[0])} to {percent(ends[1])})"
    return Standing(label, style, fmean(costs), fmean(accuracies), (min(costs), max(costs)), ends, tip)


def against_cost(
    points: Sequence[Standing], *, x: Axis, y: str, title: str, caption: str, beside: Callable[[str], str] = str
) -> Picture:
    """Return the plot of methods with a caption that names the frontier; ``beside`` says what stands at a point."""
    best = frontier(points)
    told = f"{'Frontier' if len(best) > 1 else 'Best at the least cost'}: {listing([p.label for p in best], limit=6)}."
    if alike(points):
        told = SAME_COST
    bars = " Bars run over the seeds." if any(p.accuracies[0] < p.accuracies[1] for p in points) else ""
    drawn = tradeoff(
        [replace(point, label=beside(point.label)) for point in points],
        x=x,
        y=y,
        title=title,
        description=f"{told} " + "; ".join(point.tip for point in points),
    )
    return Picture(drawn, f"{caption}: further left is cheaper. {told}{bars}", small=True)
