"""Curves: lines with a marker and a hover text per point, and bands around them."""

from __future__ import annotations

from collections.abc import Sequence
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
class Dot:
    """One point of a curve.

    Attributes:
        x: On the horizontal axis.
        y: On the vertical axis; what is not finite is a gap.
        tip: Hover text; what has none has no marker.
        ends: Lower and upper edge of the band here, or ``None`` for none.
    """

    x: float
    y: float
    tip: str
    ends: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        label: Its name.
        style: Index that chooses colour, marker and dashes, the same for a method everywhere in the page.
        dots: From left to right, all with a band or none.
        joined: Whether a line joins them; else they need not go from left to right.
    """

    label: str
    style: int
    dots: Sequence[Dot]
    joined: bool = True


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, title: str, description: str) -> Markup:
    """Return curves as inline SVG.

    Args:
        lines: At least one, each with a point; what is finite is above 0 on a logarithmic axis.
        x: The horizontal axis.
        y: The vertical axis.
        title: Accessible name.
        description: What the curves show, in words.
    """
    dots = [dot for line in lines for dot in line.dots]
    heights = [v for dot in dots for v in (dot.y, *(dot.ends or ())) if isfinite(v)] or [1.0]
    across = Scale.around([dot.x for dot in dots], x, _LEFT, _RIGHT)
    up = Scale.around(heights, y, _BOTTOM, _TOP)
    picture = frame(across, up, x_title=x.title, y_title=y.title, title=title, description=description)
    for line in lines:
        _draw(picture, line, across, up)
    return svg.markup(picture)


def _draw(picture: ET.Element, line: Line, x: Scale, y: Scale) -> None:
    """Draw a line, its band and the markers that there is room for; the last point has one."""
    dashes, style = svg.SWATCHES[line.style % len(svg.SWATCHES)][0], f"s{line.style % len(svg.SWATCHES)}"
    pieces = [list(part) for whole, part in groupby(line.dots, key=lambda dot: isfinite(dot.y)) if whole]
    band, curve = "", ""
    for part in pieces:
        curve += _path([(dot.x, dot.y) for dot in part], x, y)
        edges = [(dot.x, dot.ends) for dot in part if dot.ends]
        if edges:
            band += _path([(at, low) for at, (low, _) in edges] + [(at, up) for at, (_, up) in edges[::-1]], x, y) + "z"
    if band:
        svg.add(picture, "path", class_=f"spread {style}", d=band)
    if line.joined:
        svg.add(picture, "path", class_=f"curve {style}", stroke_dasharray=dashes, d=curve)
    shown = [dot for part in pieces for dot in part if dot.tip]
    step = max(1, -(-len(shown) // _MOST_MARKERS)) if line.joined else 1
    for dot in shown[(len(shown) - 1) % step :: step]:
        svg.mark(picture, line.style, x=x.at(dot.x), y=y.at(dot.y), tip=dot.tip)


def _path(places: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return "M" + " ".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in places)
