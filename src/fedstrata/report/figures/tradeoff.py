"""Accuracy against cost as inline SVG: a mark per method with its range over seeds, the frontier as a step line."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.comparison.pareto import ALIKE, Standing, alike, frontier
from fedstrata.domain.formatting import clip
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import SHARE, Scale, frame, wide
from fedstrata.report.figures.labels import Box, place
from fedstrata.report.figures.marks import mark

_WIDTH, _HEIGHT = 320.0, 282.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 310.0, 8.0, 244.0
_LABEL = 22


def tradeoff(
    points: Sequence[Standing], *, unit: str, x_title: str, y_title: str, title: str, description: str
) -> Markup:
    """Return the plot of at least one point.

    The horizontal axis is logarithmic where costs differ more than twentyfold, and starts at 0 where they hardly do.
    The step line shows the accuracy that is to be had at each cost; there is none where costs hardly differ.

    Args:
        points: Methods; costs at least 0. One without a label is drawn and not named.
        unit: Unit of the costs, of ``domain.units``.
        x_title: What the cost is.
        y_title: What the accuracy is of.
        title: Accessible name.
        description: What the plot shows, in words.
    """
    x, y = _across(points, unit), _upwards(points)
    picture = svg.root(_WIDTH, _HEIGHT, title=title, description=description)
    frame(picture, x, y, x_title=x_title, y_title=y_title)
    steps = [] if alike(points) else _steps(picture, frontier(points), x, y)
    for point in points:
        _ranges(picture, point, x, y)
    _labels(picture, points, x, y, steps)
    for point in points:
        mark(picture, point.style, x=x.at(point.cost), y=y.at(point.accuracy), tip=point.tip)
    return svg.markup(picture)


def _across(points: Sequence[Standing], unit: str) -> Scale:
    costs = [cost for point in points for cost in point.costs]
    if wide(costs):
        return Scale(unit, min(costs) / 1.6, max(costs) * 1.6, _LEFT, _RIGHT, log=True)
    low, high = min(costs), max(costs)
    if high <= ALIKE * low or not high:
        return Scale(unit, 0.0, 1.25 * high or 1.0, _LEFT, _RIGHT)  # closer up, differences without meaning look large
    margin = 0.12 * (high - low)
    start = 0.0 if low < 0.4 * high else max(0.0, low - margin)
    return Scale(unit, start, high + margin, _LEFT, _RIGHT)


def _upwards(points: Sequence[Standing]) -> Scale:
    shares = [share for point in points for share in point.accuracies]
    margin = max(0.1 * (max(shares) - min(shares)), 0.015)
    return Scale(SHARE, max(-0.005, min(shares) - margin), min(1.005, max(shares) + margin), _BOTTOM, _TOP)


def _steps(picture: ET.Element, best: Sequence[Standing], x: Scale, y: Scale) -> list[Box]:
    """Draw the frontier and return the room that its parts take."""
    at, up = x.at(best[0].cost), y.at(best[0].accuracy)
    path, parts = f"M{at:.1f} {up:.1f}", []
    for point in best[1:]:
        right, above = x.at(point.cost), y.at(point.accuracy)
        path += f"H{right:.1f}V{above:.1f}"
        parts += [_around(at, up, right, up), _around(right, above, right, up)]
        at, up = right, above
    svg.add(picture, "path", class_="frontier", d=f"{path}H{x.end:.1f}")
    return [*parts, _around(at, up, x.end, up)]


def _around(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left - 1, top - 1, right + 1, bottom + 1)


def _ranges(picture: ET.Element, point: Standing, x: Scale, y: Scale) -> None:
    path = ""
    if point.costs[0] < point.costs[1]:
        path += f"M{x.at(point.costs[0]):.1f} {y.at(point.accuracy):.1f}H{x.at(point.costs[1]):.1f}"
    if point.accuracies[0] < point.accuracies[1]:
        path += f"M{x.at(point.cost):.1f} {y.at(point.accuracies[0]):.1f}V{y.at(point.accuracies[1]):.1f}"
    if path:
        svg.add(picture, "path", class_=f"range s{point.style % 8}", d=path)


def _labels(picture: ET.Element, points: Sequence[Standing], x: Scale, y: Scale, steps: Sequence[Box]) -> None:
    texts = [clip(point.label, width=_LABEL) for point in points]
    places = [(x.at(p.cost), y.at(p.accuracy), text) for p, text in zip(points, texts, strict=True)]
    room = Box(x.start, y.end - 6, x.end + 6, y.start)
    for (a, b, text), point, label in zip(places, points, place(places, room, steps), strict=True):
        if not text:
            continue
        if label.far:
            svg.add(picture, "path", class_="leader", d=f"M{a:.1f} {b:.1f}L{label.x:.1f} {label.y - 3.5:.1f}")
        written = svg.add(picture, "text", text, x=label.x, y=label.y, class_="beside end" if label.end else "beside")
        if text != point.label:
            svg.add(written, "title", point.label)
