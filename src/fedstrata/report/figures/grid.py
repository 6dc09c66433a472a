"""Heatmaps: one rectangle per cell with its number on hover, coloured by the page's theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from typing import TypeVar
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import clip
from fedstrata.report.figures import svg

LEVELS = 10
"""Shades above zero."""

_BODY = 500.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        level: 0 for exactly zero, then 1 to ``LEVELS``; ``None`` where there is no value.
        tip: What hovering says.
        mark: Short text inside the cell, shown where it fits.
        alarm: Whether the value must not be.
    """

    level: int | None
    tip: str
    mark: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A heatmap.

    Attributes:
        cells: Rows of cells, as many as ``rows``, each as long as ``columns``.
        axes: What rows and columns are.
        zero: What the shade of exactly zero means.
        scale: What the shades above it run from and to.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    axes: tuple[str, str]
    zero: str
    scale: str


def level_of_share(share: float) -> int:
    """Return the shade of a share in [0, 1]: 0 only for exactly zero.

    Example:
        >>> level_of_share(0.0), level_of_share(0.01), level_of_share(0.55), level_of_share(1.0)
        (0, 1, 6, 10)
    """
    return 0 if share <= 0 else max(1, min(LEVELS, -int(-share * LEVELS // 1)))


def level_of_log(value: float, *, low: float, high: float) -> int | None:
    """Return the shade of a positive value on a log scale from ``low`` to ``high``: 0 only for exactly zero.

    Example:
        >>> [level_of_log(v, low=0.01, high=1.0) for v in (0.0, 0.01, 0.1, 1.0)]
        [0, 1, 5, 10]
    """
    if not isfinite(value):
        return None
    if value == 0:
        return 0
    if high <= low:
        return LEVELS
    place = log10(value / low) / log10(high / low)
    return max(1, min(LEVELS, 1 + round(place * (LEVELS - 1))))


def binned(
    items: Sequence[T], *, limit: int, name: Callable[[T], str] = str, to: str = "–"
) -> list[tuple[str, Sequence[T]]]:
    """Return items in at most ``limit`` groups of equal size (the last may be smaller), each with its name.

    Example:
        >>> binned([1, 2, 3], limit=2), binned(["a"], limit=2)
        ([('1–2', [1, 2]), ('3', [3])], [('a', ['a'])])
    """
    step = max(1, -(-len(items) // limit))
    parts = [items[start : start + step] for start in range(0, len(items), step)]
    return [(name(part[0]) if len(part) == 1 else f"{name(part[0])}{to}{name(part[-1])}", part) for part in parts]


def counted(count: int, total: int, tip: str) -> Cell:
    """Return a cell with a count in it, shaded by its share of a total above 0."""
    return Cell(level_of_share(count / total), tip, str(count) if count else "")


def draw(grid: Grid, *, title: str, description: str) -> Markup:
    """Return the heatmap as inline SVG, at its natural size in CSS pixels."""
    at = _layout(grid)
    legend = 32 + 8 * LEVELS + 5 + svg.room(grid.zero + grid.scale)
    bottom = at.top + len(grid.rows) * at.height
    right = at.left + max(max(1, len(grid.columns)) * at.width, legend) + 10
    picture = svg.root(right, bottom + 32, title=title, description=description)
    _labels(picture, grid, at)
    for i, row in enumerate(grid.cells):
        line = svg.add(picture, "g", transform=f"translate({at.left:g},{at.top + i * at.height:g})")
        for j, cell in enumerate(row):
            _cell(line, cell, j, at)
    _legend(picture, grid, at.left, bottom + 15)
    return svg.markup(picture)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Place of the first cell, size of each, and how labels and counts are shown in the room that there is."""

    left: float
    top: float
    width: float
    height: float
    turned: bool
    every: int
    marked: bool


def _layout(grid: Grid) -> _Layout:
    rows = len(grid.rows)
    width = max(9.0, min(34.0, _BODY // max(1, len(grid.columns))))
    height = 21.0 if rows <= 20 else (15.0 if rows <= 45 else 12.0)
    longest = max((svg.room(clip(c)) for c in grid.columns), default=0.0)
    numeric = all(c.replace("–", "").isdigit() for c in grid.columns)
    turned = not numeric and longest > width - 4
    marks = max((svg.room(cell.mark) for row in grid.cells for cell in row), default=0.0)
    return _Layout(
        left=12 + max(svg.room(clip(r)) for r in [*grid.rows, grid.axes[0]]),
        top=22 + (longest if turned else 14),
        width=width,
        height=height,
        turned=turned,
        every=max(1, int(-(-(longest + 5) // width))) if numeric else 1,
        marked=height > 12 and marks <= width - 2,
    )


def _labels(picture: ET.Element, grid: Grid, at: _Layout) -> None:
    above = at.top - 5
    svg.add(picture, "text", grid.axes[1], x=at.left, y=11, class_="axis")
    svg.add(picture, "text", grid.axes[0], x=at.left - 6, y=above, class_="axis end")
    style = "end" if at.height > 12 else "end small"
    for i, name in enumerate(grid.rows):
        svg.name(picture, name, x=at.left - 6, y=at.top + (i + 0.5) * at.height + 3.5, class_=style)
    for j in range(0, len(grid.columns), at.every):
        x = at.left + (j + 0.5) * at.width
        if at.turned:
            svg.name(picture, grid.columns[j], transform=f"translate({x + 4:.1f},{above:.1f}) rotate(-90)")
        else:
            svg.add(picture, "text", grid.columns[j], x=x, y=above, class_="mid")


def _cell(line: ET.Element, cell: Cell, column: int, at: _Layout) -> None:
    shade = "alarm" if cell.alarm else ("none" if cell.level is None else f"h{cell.level}")
    x, width = column * at.width, at.width - 1
    svg.add(line, "path", class_=shade, d=f"M{x:g} 0h{width:g}v{at.height - 1:g}h-{width:g}z", tip=cell.tip)
    mark = "!" if cell.alarm else cell.mark
    if mark and (at.marked or cell.alarm):
        style = "mark over" if cell.alarm or (cell.level or 0) > LEVELS // 2 else "mark"
        svg.add(line, "text", mark, class_=style, x=round(x + width / 2), y=round(at.height / 2 + 3.5))


def _legend(picture: ET.Element, grid: Grid, x: float, y: float) -> None:
    svg.add(picture, "path", class_="h0", d=f"M{x:g} {y:g}h13v13h-13z")
    svg.add(picture, "text", grid.zero, x=x + 18, y=y + 10.5)
    x += 32 + svg.room(grid.zero)
    for level in range(1, LEVELS + 1):
        svg.add(picture, "path", class_=f"h{level}", d=f"M{x:g} {y:g}h8v13h-8z")
        x += 8
    svg.add(picture, "text", grid.scale, x=x + 5, y=y + 10.5)
