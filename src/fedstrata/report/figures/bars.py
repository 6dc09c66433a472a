"""Stacked horizontal bars: one bar per row, one segment per part, counts on hover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedstrata.domain.formatting import clip, number
from fedstrata.report.figures import svg

_BODY = 440.0


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar.

    Attributes:
        part: Index of the part, which chooses its colour.
        size: Length in the unit of the axis.
        label: Shown inside where it fits.
        tip: What hovering says.
    """

    part: int
    size: float
    label: str
    tip: str


def stacked(rows: Sequence[tuple[str, Sequence[Segment]]], *, unit: str, title: str, description: str) -> Markup:
    """Return one stacked bar per row, all on one axis that begins at 0."""
    left = 12 + max((svg.room(clip(name)) for name, _ in rows), default=24.0)
    height = 21.0 if len(rows) <= 25 else 15.0
    sums = [sum(s.size for s in parts) for _, parts in rows]
    scale = _BODY / (max(sums, default=0.0) or 1.0)
    picture = svg.root(left + _BODY + 58, len(rows) * height + 24, title=title, description=description)
    for i, (name, parts) in enumerate(rows):
        y, x = 4 + i * height, left
        svg.name(picture, name, x=left - 6, y=y + height / 2 + 3, class_="end")
        for one in parts:
            width, color = one.size * scale, one.part % 10
            svg.add(picture, "rect", class_=f"p{color}", x=x, y=y, width=width, height=height - 3, tip=one.tip)
            if width >= svg.room(one.label) + 4 and height > 16:
                middle, base = x + width / 2, y + height / 2 + 2.5
                svg.add(picture, "text", one.label, class_=f"mark on{color}", x=middle, y=base)
            x += width
        svg.add(picture, "text", number(sums[i], digits=4), x=x + 5, y=y + height / 2 + 3)
    svg.add(picture, "text", unit, x=left, y=len(rows) * height + 18, class_="axis")
    return svg.markup(picture)
