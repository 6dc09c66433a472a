"""Stacked horizontal bars as inline SVG: one bar per row, one segment per part, counts on hover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedstrata.domain.formatting import clip, number
from fedstrata.report.figures import svg

_CHARACTER = 6.1
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
    left = 12 + _CHARACTER * max((len(clip(name)) for name, _ in rows), default=4)
    height = 21.0 if len(rows) <= 25 else 15.0
    longest = max((sum(s.size for s in parts) for _, parts in rows), default=0.0) or 1.0
    scale = _BODY / longest
    picture = svg.root(left + _BODY + 58, len(rows) * height + 24, title=title, description=description)
    for i, (name, parts) in enumerate(rows):
        y = 4 + i * height
        label = svg.add(picture, "text", clip(name), x=left - 6, y=y + height / 2 + 3, class_="end")
        if clip(name) != name:
            svg.add(label, "title", name)
        x = left
        for segment in parts:
            width = segment.size * scale
            rect = svg.add(picture, "rect", class_=f"p{segment.part % 10}", x=x, y=y, width=width, height=height - 3)
            svg.add(rect, "title", segment.tip)
            if width >= _CHARACTER * len(segment.label) + 4 and height > 16:
                middle = {"x": x + width / 2, "y": y + height / 2 + 2.5}
                svg.add(picture, "text", segment.label, class_=f"mark on{segment.part % 10}", **middle)
            x += width
        total = number(sum(s.size for s in parts), digits=4)
        svg.add(picture, "text", total, x=x + 5, y=y + height / 2 + 3)
    svg.add(picture, "text", unit, x=left, y=len(rows) * height + 18, class_="axis")
    return svg.markup(picture)
