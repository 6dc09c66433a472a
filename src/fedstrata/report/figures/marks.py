"""Marks of methods: the same shape for a method in curves, legends and hand-drawn plots."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from fedstrata.report.figures import svg

SWATCHES = (
    ("", "M17 2.5a3.5 3.5 0 1 0 .01 0z"),
    ("9 3", "M13.5 2.5h7v7h-7z"),
    ("3 3", "M17 2l4 8h-8z"),
    ("10 3 3 3", "M17 1.5l4.5 4.5l-4.5 4.5l-4.5-4.5z"),
    ("", "M17 10l4-8h-8z"),
    ("9 3", "M15.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z"),
    ("3 3", "M13 3.5l1.5-1.5l2.5 2.5l2.5-2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5-2.5l-2.5 2.5l-1.5-1.5l2.5-2.5z"),
    ("10 3 3 3", "M17 1.8l4 3l-1.5 4.7h-5l-1.5-4.7z"),
)
"""Dashes and marker of each curve style, as ``plots`` draws them; a marker's middle is (17, 6)."""


def mark(parent: ET.Element, style: int, *, x: float, y: float, tip: str) -> ET.Element:
    """Draw the marker of a style with its middle at a place, and return it."""
    shape = svg.add(
        parent,
        "path",
        class_=f"s{style % len(SWATCHES)}",
        fill="currentColor",
        d=SWATCHES[style % len(SWATCHES)][1],
        transform=f"translate({x - 17:.1f},{y - 6:.1f})",
    )
    svg.add(shape, "title", tip)
    return shape
