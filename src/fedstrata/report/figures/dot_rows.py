"""Rows of marks: one line of text per row, its marks and its range on an axis that all rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import clip
from fedstrata.report.figures import svg
from fedstrata.report.figures.axes import POINTS, Axis, Scale, below

_LABEL = 34
_BODY = 430.0
_CAP = 3.5


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        label: At the left.
        marks: Value in shares, style (which chooses the shape) and hover text of each.
        text: At the right; what is missing is said here too.
        ends: Of the line under the marks; ``None`` for none.
        sure: Whether that is an interval, drawn through and with ends, and not a range of values, drawn dashed.
    """

    label: str
    marks: tuple[tuple[float, int, str], ...]
    text: str = ""
    ends: tuple[float, float] | None = None
    sure: bool = False


def row_chart(rows: Sequence[Row], *, axis: Axis, title: str, description: str) -> Markup:
    """Return the plot of at least one row, at its natural size.

    Args:
        rows: Top to bottom.
        axis: What is drawn: shares, or differences in points, which have a line at 0.
        title: Accessible name.
        description: What the plot shows, in words.
    """
    left = 12 + max(svg.room(clip(row.label, width=_LABEL)) for row in rows)
    right = 10 + max(svg.room(row.text) for row in rows)
    height = 20.0 if len(rows) <= 24 else 16.0
    top, bottom = 8.0, 8.0 + len(rows) * height
    picture = svg.root(left + _BODY + right, bottom + 38, title=title, description=description)
    values = [value for row in rows for value, _, _ in row.marks]
    values += [end for row in rows for end in row.ends or ()]
    x = Scale.around([*values, 0.0] if axis.unit == POINTS or not values else values, axis, left, left + _BODY)
    below(picture, x, axis.title, top=top, bottom=bottom)
    if axis.unit == POINTS:
        svg.add(picture, "path", class_="diagonal", d=f"M{x.at(0.0):.1f} {top:.1f}V{bottom:.1f}")
    for place, row in enumerate(rows):
        _row(picture, row, x, top + (place + 0.5) * height)
    return svg.markup(picture)


def _row(picture: ET.Element, row: Row, x: Scale, y: float) -> None:
    svg.name(picture, row.label, width=_LABEL, x=x.start - 8, y=y + 3.5, class_="end")
    if row.ends is not None:
        low, high = map(x.at, row.ends)
        caps = "".join(f"M{at:.1f} {y - _CAP:.1f}V{y + _CAP:.1f}" for at in (low, high)) if row.sure else ""
        svg.add(picture, "path", class_="range" if row.sure else "range few", d=f"M{low:.1f} {y:.1f}H{high:.1f}{caps}")
    for value, style, tip in row.marks:
        svg.mark(picture, style, x=x.at(value), y=y, tip=tip)
    if row.text:
        svg.add(picture, "text", row.text, x=x.end + 8, y=y + 3.5)
