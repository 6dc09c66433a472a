"""Accuracy against cost: a mark per method with its range over seeds, the frontier as a step line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.comparison.pareto import ALIKE, Standing, alike, frontier
from fedstrata.domain.formatting import clip
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import SHARE, Axis, Scale, frame, wide
from fedstrata.report.figures.labels import Box, place

_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 310.0, 8.0, 244.0


def tradeoff(points: Sequence[Standing], *, x: Axis, y: str, title: str, description: str) -> Markup:
    """Return the plot of at least one point.

    The horizontal axis is logarithmic where costs differ more than twentyfold, and starts at 0 where they hardly do.
    The step line shows the accuracy that is to be had at each cost; there is none where costs hardly differ.

    Args:
        points: Methods; costs at least 0. One without a label is drawn and not named.
        x: What the cost is.
        y: What the accuracy is of.
        title: Accessible name.
        description: What the plot shows, in words.
    """
    across = _across(points, x.unit)
    up = Scale.around([share for point in points for share in point.accuracies], Axis(y, SHARE), _BOTTOM, _TOP)
    picture = frame(across, up, x_title=x.title, y_title=y, title=title, description=description)
    steps = [] if alike(points) else _steps(picture, frontier(points), across, up)
    for point in points:
        _ranges(picture, point, across, up)
    _labels(picture, points, across, up, steps)
    for point in points:
        svg.mark(picture, point.style, x=across.at(point.cost), y=up.at(point.accuracy), tip=point.tip)
    return svg.markup(picture)


def _across(points: Sequence[Standing], unit: str) -> Scale:
    costs = [cost for point in points for cost in point.costs]
    if wide(costs):
        return Scale.around(costs, Axis("", unit, log=True), _LEFT, _RIGHT)
    low, high = min(costs), max(costs)
    if high <= ALIKE * low or not high:
        return Scale(unit, 0.0, 1.25 * high or 1.0, _LEFT, _RIGHT)  # closer up, differences without meaning look large
    margin = 0.12 * (high - low)
    start = 0.0 if low < 0.4 * high else max(0.0, low - margin)
    return Scale(unit, start, high + margin, _LEFT, _RIGHT)


def _steps(picture: ET.Element, best: Sequence[Standing], x: Scale, y: Scale) -> list[Box]:
    """Draw the frontier and return the room that its parts take."""
    corners = [(x.at(point.cost), y.at(point.accuracy)) for point in best]
    path = "M{:.1f} {:.1f}".format(*corners[0]) + "".join(f"H{right:.1f}V{up:.1f}" for right, up in corners[1:])
    svg.add(picture, "path", class_="frontier", d=f"{path}H{x.end:.1f}")
    after = [*corners[1:], (x.end, corners[-1][1])]
    flat = [Box(left - 1, up - 1, right + 1, up + 1) for (left, up), (right, _) in zip(corners, after, strict=True)]
    steep = [Box(right - 1, up - 1, right + 1, low + 1) for (_, low), (right, up) in pairwise(corners)]
    return flat + steep


def _ranges(picture: ET.Element, point: Standing, x: Scale, y: Scale) -> None:
    path = ""
    if point.costs[0] < point.costs[1]:
        path += f"M{x.at(point.costs[0]):.1f} {y.at(point.accuracy):.1f}H{x.at(point.costs[1]):.1f}"
    if point.accuracies[0] < point.accuracies[1]:
        path += f"M{x.at(point.cost):.1f} {y.at(point.accuracies[0]):.1f}V{y.at(point.accuracies[1]):.1f}"
    if path:
        svg.add(picture, "path", class_=f"range s{point.style % 8}", d=path)


def _labels(picture: ET.Element, points: Sequence[Standing], x: Scale, y: Scale, steps: Sequence[Box]) -> None:
    places = [(x.at(p.cost), y.at(p.accuracy), clip(p.label)) for p in points]
    room = Box(x.start, y.end - 6, x.end + 6, y.start)
    for (a, b, text), point, label in zip(places, points, place(places, room, steps), strict=True):
        if not text:
            continue
        if label.far:
            svg.add(picture, "path", class_="leader", d=f"M{a:.1f} {b:.1f}L{label.x:.1f} {label.y - 3.5:.1f}")
        svg.name(picture, point.label, x=label.x, y=label.y, class_="beside end" if label.end else "beside")
