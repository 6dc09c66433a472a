"""Inline SVG: elements whose text is always escaped, an accessible name, and the marks of methods."""

from __future__ import annotations

from unicodedata import east_asian_width
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import clean, clip

SWATCHES = (
    ("", "m0-3.5a3.5 3.5 0 1 0 .01 0z"),
    ("9 3", "m-3.5-3.5h7v7h-7z"),
    ("3 3", "m0-4l4 8h-8z"),
    ("10 3 3 3", "m0-4.5l4.5 4.5-4.5 4.5-4.5-4.5z"),
    ("", "m0 4l4-8h-8z"),
    ("9 3", "m-1.5-4h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z"),
    ("3 3", "m-4-2.5l1.5-1.5 2.5 2.5 2.5-2.5 1.5 1.5-2.5 2.5 2.5 2.5-1.5 1.5-2.5-2.5-2.5 2.5-1.5-1.5 2.5-2.5z"),
    ("10 3 3 3", "m0-4.2l4 3-1.5 4.7h-5l-1.5-4.7z"),
)
"""Dashes and marker of each style; a marker is a path that begins at its middle. The page has a colour for each."""


def root(width: float, height: float, *, title: str, description: str) -> ET.Element:
    """Return an ``<svg>`` with an accessible name; ``width`` and ``height`` are CSS pixels."""
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return ET.Element("svg", {**size, "role": "img", "aria-label": clean(f"{title}. {description}")})


def add(parent: ET.Element, tag: str, text: str = "", *, tip: str = "", **attributes: str | float) -> ET.Element:
    """Append an element; a trailing underscore in a keyword is dropped and others become hyphens.

    Args:
        parent: Where it goes.
        tag: Its name.
        text: Its content.
        tip: What hovering says.
        attributes: Empty ones are left out.

    Example:
        >>> svg = root(10, 10, title="a", description="b")
        >>> ET.tostring(add(svg, "text", "<b>", x=1.0, text_anchor="end", class_="k"), encoding="unicode")
        '<text x="1" text-anchor="end" class="k">&lt;b&gt;</text>'
    """
    values = {
        key.rstrip("_").replace("_", "-"): clean(value) if isinstance(value, str) else f"{value:.4g}"
        for key, value in attributes.items()
        if value != ""
    }
    element = ET.SubElement(parent, tag, values)
    element.text = clean(text) or None
    if tip:
        add(element, "title", tip)
    return element


def name(parent: ET.Element, text: str, *, width: int = 22, **attributes: str | float) -> None:
    """Append a name; of one that is longer than ``width`` characters the middle is left out, and hovering says it."""
    shown = clip(text, width=width)
    add(parent, "text", shown, tip="" if shown == text else text, **attributes)


def room(text: str) -> float:
    """Return about how wide a text of 11 CSS pixels is."""
    east = sum(east_asian_width(c) in "WF" for c in text)
    return 6.6 * len(text) + 4.4 * east + sum(1.6 if c.isupper() else 0.4 * c.isdigit() for c in text)


def mark(parent: ET.Element, style: int, *, x: float, y: float, tip: str) -> None:
    """Draw the marker of a style at a place."""
    shape = SWATCHES[style % len(SWATCHES)][1]
    add(parent, "path", class_=f"s{style % len(SWATCHES)}", d=f"M{x:.1f} {y:.1f}{shape}", tip=tip)


def markup(svg: ET.Element) -> Markup:
    """Return an element as text that is safe inside HTML."""
    return Markup(ET.tostring(svg, encoding="unicode").replace(" />", "/>"))
