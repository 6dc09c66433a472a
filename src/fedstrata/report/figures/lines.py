"""Curves: lines with a marker and a hover text per point, and bands around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import Axis, Scale, frame

_LEFT, _RIGHT, _TOP, _BOTTOM = 55.0, 430.0, 8.0, 252.0
_MOST_MARKERS = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        label: Name for hover texts.
        x: Ascending.
        y: Same length as ``x``; what is not finite is a gap.
        style: Index that chooses colour, marker and dashes, the same for a method everywhere in the page.
        tips: Hover text of each point.
        low: Lower edge of the band, or empty for none.
        high: Upper edge of the band.
        dots: Whether its points stand alone, with no line between them; ``x`` need not ascend then.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: int
    tips: Sequence[str]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, title: str, description: str) -> Markup:
    """Return curves as inline SVG.

    Args:
        lines: At least one, each with at least one finite point; values are above 0 on a logarithmic axis.
        x: The horizontal axis.
        y: The vertical axis.
        title: Accessible name.
        description: What the curves show, in words.
    """
    heights = [v for line in lines for v in (*line.y, *line.low, *line.high) if isfinite(v)]
    across = Scale.around([v for line in lines for v in line.x], x, _LEFT, _RIGHT)
    up = Scale.around(heights, y, _BOTTOM, _TOP)
    picture = frame(across, up, x_title=x.title, y_title=y.title, title=title, description=description)
    for line in lines:
        _draw(picture, line, across, up)
    return svg.markup(picture)


def _draw(picture: ET.Element, line: Line, x: Scale, y: Scale) -> None:
    """Draw a line, its band and the markers that there is room for; the last point has one."""
    dashes, style = svg.SWATCHES[line.style % len(svg.SWATCHES)][0], f"s{line.style % len(svg.SWATCHES)}"
    pieces = list(_pieces(line))
    if line.low:
        edges = [[(i, line.low[i]) for i in part] + [(i, line.high[i]) for i in reversed(part)] for part in pieces]
        svg.add(picture, "path", class_=f"spread {style}", d=_path(edges, line, x, y, "z"))
    if not line.dots:
        runs = [[(i, line.y[i]) for i in part] for part in pieces]
        svg.add(picture, "path", class_=f"curve {style}", stroke_dasharray=dashes, d=_path(runs, line, x, y))
    shown = [i for part in pieces for i in part]
    step = 1 if line.dots else max(1, -(-len(shown) // _MOST_MARKERS))
    for i in shown:
        if (len(line.y) - 1 - i) % step == 0:
            svg.mark(picture, line.style, x=x.at(line.x[i]), y=y.at(line.y[i]), tip=line.tips[i])


def _pieces(line: Line) -> Iterator[list[int]]:
    """Yield the indices between the gaps of a line."""
    for whole, part in groupby(range(len(line.y)), key=lambda i: isfinite(line.y[i])):
        if whole:
            yield list(part)


def _path(parts: Sequence[Sequence[tuple[int, float]]], line: Line, x: Scale, y: Scale, end: str = "") -> str:
    return "".join("M" + " ".join(f"{x.at(line.x[i]):.1f} {y.at(v):.1f}" for i, v in part) + end for part in parts)
