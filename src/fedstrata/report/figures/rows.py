"""Rows of marks as inline SVG: one line of text per row, its marks and its range on an axis that all rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import clip
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import SHARE, Scale
from fedstrata.report.figures.marks import mark

_LABEL = 34
_CHARACTER = 7.0
_BODY = 430.0
_CAP = 3.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A range, in shares.

    Attributes:
        sure: Whether it is an interval, drawn through and with ends, and not a range of values, drawn dashed.
    """

    low: float
    high: float
    sure: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        label: At the left.
        marks: Value in shares, style (which chooses the shape) and hover text of each.
        bar: Drawn under the marks; ``None`` for none.
        text: At the right; what is missing is said here too.
    """

    label: str
    marks: tuple[tuple[float, int, str], ...]
    bar: Bar | None = None
    text: str = ""


def row_chart(rows: Sequence[Row], *, axis: str, zero: bool, title: str, description: str) -> Markup:
    """Return the plot of at least one row, at its natural size.

    Args:
        rows: Top to bottom.
        axis: What is drawn, with its unit.
        zero: Whether the values are differences: in points, with a line at 0.
        title: Accessible name.
        description: What the plot shows, in words.
    """
    left = 12 + _CHARACTER * max(len(clip(row.label, width=_LABEL)) for row in rows)
    right = 10 + _CHARACTER * max(len(row.text) for row in rows)
    height = 20.0 if len(rows) <= 24 else 16.0
    top, bottom = 8.0, 8.0 + len(rows) * height
    picture = svg.root(left + _BODY + right, bottom + 38, title=title, description=description)
    x = _scale(rows, left, zero=zero)
    _frame(picture, x, top, bottom, axis=axis, zero=zero)
    for place, row in enumerate(rows):
        _row(picture, row, x, top + (place + 0.5) * height)
    return svg.markup(picture)


def _scale(rows: Sequence[Row], left: float, *, zero: bool) -> Scale:
    values = [value for row in rows for value, _, _ in row.marks]
    values += [end for row in rows if row.bar for end in (row.bar.low, row.bar.high)]
    values += [0.0] if zero or not values else []
    low, high = min(values), max(values)
    margin = max(0.05 * (high - low), 0.001 if zero else 0.01)
    low, high = low - margin, high + margin
    if not zero:
        low, high = max(low, -0.005), min(high, 1.005)
    return Scale(SHARE, low, high, left, left + _BODY)


def _frame(picture: ET.Element, x: Scale, top: float, bottom: float, *, axis: str, zero: bool) -> None:
    ticks = [(x.at(value), label.removesuffix("%") if zero else label) for value, label in x.ticks()]
    svg.add(picture, "path", class_="grid", d="".join(f"M{at:.1f} {top:.1f}V{bottom:.1f}" for at, _ in ticks))
    for at, label in ticks:
        svg.add(picture, "text", label.replace("-", "\u2212"), x=at, y=bottom + 14, class_="mid")
    svg.add(picture, "path", class_="rule", d=f"M{x.start:.1f} {bottom:.1f}H{x.end:.1f}")
    if zero:
        svg.add(picture, "path", class_="diagonal", d=f"M{x.at(0.0):.1f} {top:.1f}V{bottom:.1f}")
    svg.add(picture, "text", axis, x=(x.start + x.end) / 2, y=bottom + 31, class_="mid title")


def _row(picture: ET.Element, row: Row, x: Scale, y: float) -> None:
    shown = clip(row.label, width=_LABEL)
    label = svg.add(picture, "text", shown, x=x.start - 8, y=y + 3.5, class_="end")
    if shown != row.label:
        svg.add(label, "title", row.label)
    if row.bar is not None:
        low, high = x.at(row.bar.low), x.at(row.bar.high)
        path = f"M{low:.1f} {y:.1f}H{high:.1f}"
        if row.bar.sure:
            path += "".join(f"M{at:.1f} {y - _CAP:.1f}V{y + _CAP:.1f}" for at in (low, high))
        svg.add(picture, "path", class_="range" if row.bar.sure else "range few", d=path)
    for value, style, tip in row.marks:
        mark(picture, style, x=x.at(value), y=y, tip=tip)
    if row.text:
        svg.add(picture, "text", row.text, x=x.end + 8, y=y + 3.5)
