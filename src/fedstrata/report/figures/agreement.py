"""Predicted against measured: one dot per pair, the diagonal, and a band around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, sqrt
from statistics import fmean
from sys import float_info
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import plural, quantity
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import MOST, Scale, frame, wide

BAND = 0.15
"""Half the width of the band, as a share of the prediction."""

MOST_DOTS = 600
"""Dots of a plot; more pairs share dots where they lie close together."""

_LEFT, _TOP, _SIDE = 54.0, 8.0, 256.0
_CELLS = (0.25, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
_RADIUS, _LARGEST = 2.6, 5.0


@dataclass(frozen=True, slots=True)
class Pair:
    """What was predicted and what was measured, and ``where``: whose it is."""

    predicted: float
    measured: float
    where: str


def agreement(pairs: Sequence[Pair], *, unit: str, title: str, description: str) -> Markup:
    """Return the plot of at least one pair, with the same scale on both axes.

    Pairs whose dots would coincide share one; so do those that nearly would where there were too many dots. A dot's
    hover text counts its pairs.

    Args:
        pairs: Finite amounts, at least 0.
        unit: A unit of ``domain.units``.
        title: Accessible name.
        description: What the plot shows, in words.
    """
    values = [v for pair in pairs for v in (pair.predicted, pair.measured)]
    x, y = _scales(values, unit)
    picture = frame(x, y, x_title="predicted", y_title="measured", title=title, description=description)
    _band(picture, x, y)
    group = svg.add(picture, "g", class_="dots")
    for dot in _dots(pairs, x, y):
        _draw(group, dot, unit, x, y)
    return svg.markup(picture)


def _scales(values: Sequence[float], unit: str) -> tuple[Scale, Scale]:
    log = wide(values)
    low, high = 0.8 * min(*values, MOST), 1.2 * min(max(values), MOST)
    if high < float_info.min:  # nothing, or so little that a share of it cannot be told from it
        low, high = 0.0, 1.0
    if not log and low < 0.25 * high:
        low = 0.0
    return Scale(unit, low, high, _LEFT, _LEFT + _SIDE, log), Scale(unit, low, high, _TOP + _SIDE, _TOP, log)


def _band(picture: ET.Element, x: Scale, y: Scale) -> None:
    low, high = x.low, x.high
    corners = (
        (low, low),
        (low / (1 - BAND), low),
        (high, high * (1 - BAND)),
        (high, high),
        (high / (1 + BAND), high),
        (low, low * (1 + BAND)),
    )
    path = "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in corners)
    svg.add(picture, "path", class_="band", d=f"M{path}z")
    ends = f"M{x.start:.1f} {y.start:.1f}L{x.end:.1f} {y.end:.1f}"
    svg.add(picture, "path", class_="diagonal", d=ends)


def _dots(pairs: Sequence[Pair], x: Scale, y: Scale) -> list[list[Pair]]:
    """Return the pairs that share a dot: in cells as small as the number of dots allows."""
    places = [(x.at(pair.predicted), y.at(pair.measured)) for pair in pairs]
    dots: dict[tuple[int, int], list[Pair]] = {}
    for cell in _CELLS:
        dots = {}
        for pair, (a, b) in zip(pairs, places, strict=True):
            dots.setdefault((floor(a / cell), floor(b / cell)), []).append(pair)
        if len(dots) <= MOST_DOTS:
            break
    return list(dots.values())


def _draw(group: ET.Element, dot: Sequence[Pair], unit: str, x: Scale, y: Scale) -> None:
    first = dot[0]
    tip = f"{first.where}: predicted {quantity(unit, first.predicted)}, measured {quantity(unit, first.measured)}"
    if len(dot) > 1:
        tip = f"{plural(len(dot), 'client-round')} here; {tip}"
    radius = min(_LARGEST, _RADIUS * sqrt(1 + (len(dot) - 1) / 20))
    across = fmean(x.at(pair.predicted) for pair in dot)
    up = fmean(y.at(pair.measured) for pair in dot)
    svg.add(group, "circle", cx=round(across, 1), cy=round(up, 1), r=round(radius, 1), tip=tip)
