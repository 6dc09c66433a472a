"""Inline SVG: elements whose text is always escaped, and matplotlib's output made small, named and themable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from markupsafe import Markup

from fedstrata.domain.formatting import clean

_FLOAT = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"(^|\()#([\w.]+)")
_GEOMETRY = ("d", "x", "y", "width", "height", "transform", "points", "viewBox", "cx", "cy", "r")
_FONT = re.compile(r"font-family:[^;]*;?\s*")


def root(width: float, height: float, *, title: str, description: str) -> ET.Element:
    """Return an ``<svg>`` with an accessible name; ``width`` and ``height`` are CSS pixels."""
    box = f"0 0 {width:g} {height:g}"
    svg = ET.Element("svg", {"viewBox": box, "width": f"{width:g}", "height": f"{height:g}"})
    return named(svg, title=title, description=description)


def named(svg: ET.Element, *, title: str, description: str) -> ET.Element:
    """Give an ``<svg>`` its role, name and description, and return it."""
    svg.set("role", "img")
    svg.set("aria-label", clean(f"{title}. {description}"))
    return svg


def add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str | float) -> ET.Element:
    """Append an element; a trailing underscore in a keyword is dropped and others become hyphens.

    Example:
        >>> svg = root(10, 10, title="a", description="b")
        >>> ET.tostring(add(svg, "text", "<b>", x=1.0, text_anchor="end", class_="k"), encoding="unicode")
        '<text x="1" text-anchor="end" class="k">&lt;b&gt;</text>'
    """
    values = {
        key.rstrip("_").replace("_", "-"): clean(value) if isinstance(value, str) else f"{value:.4g}"
        for key, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, values)
    if text is not None:
        element.text = clean(text)
    return element


def markup(svg: ET.Element) -> Markup:
    """Return an element as text that is safe inside HTML."""
    return Markup(ET.tostring(svg, encoding="unicode").replace(" />", "/>"))


def adopt(
    source: bytes,
    *,
    key: str,
    title: str,
    description: str,
    colors: Mapping[str, str],
    tips: Mapping[str, Sequence[str]],
) -> Markup:
    """Turn matplotlib's SVG file into an inline one.

    Metadata, global styles and fixed fonts go; coordinates keep one decimal; ids become unique in the page.

    Args:
        source: The file that ``Figure.savefig`` wrote.
        key: Prefix of the ids; unique in the page.
        title: Accessible name.
        description: What the figure shows, for those who cannot see it.
        colors: What each hexadecimal colour of the file becomes, such as ``var(--ink)``.
        tips: Hover texts for the markers of the artists with these gids, in order.
    """
    svg = ET.fromstring(source)
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = (element.text or "").strip() or None
        element.tail = None
    for parent in list(svg.iter()):
        for child in [c for c in parent if c.tag in ("metadata", "style")]:
            parent.remove(child)
    for gid, texts in tips.items():
        _tip(svg, gid, texts)
    referenced = {m for e in svg.iter() for v in e.attrib.values() for _, m in _REFERENCE.findall(v)}
    for element in svg.iter():
        _tidy(element, key, referenced, colors)
    _share_styles(svg)
    _flatten(svg)
    svg.attrib.pop("version", None)
    return markup(named(svg, title=title, description=description))


def _tip(svg: ET.Element, gid: str, texts: Sequence[str]) -> None:
    artist = svg.find(f".//g[@id='{gid}']")
    marks = [] if artist is None else list(artist.iter("use"))
    if len(marks) != len(texts):
        raise RuntimeError(f"figure artist {gid} has {len(marks)} markers for {len(texts)} hover texts")
    for mark, text in zip(marks, texts, strict=True):
        add(mark, "title", text)


def _tidy(element: ET.Element, key: str, referenced: set[str], colors: Mapping[str, str]) -> None:
    for name in list(element.attrib):
        value = element.attrib.pop(name)
        name = name.rpartition("}")[2]
        if name == "id" and value not in referenced:
            continue
        if name == "id":
            value = f"{key}-{value}"
        elif name in _GEOMETRY:
            value = _FLOAT.sub(lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), " ".join(value.split()))
        elif name == "style":
            value = _FONT.sub("", value).replace("; ", ";").replace(": ", ":")
            for color, theme in colors.items():
                value = value.replace(color, theme)
            value = (
                value.replace("font-size:10px;", "").replace(";fill:currentColor", "")
                if element.tag == "text"
                else value
            )
        if value in ("rotate(-0 0 0)", "") or value.startswith("rotate(-0 "):
            continue
        element.set(name, _REFERENCE.sub(rf"\1#{key}-\2", value))


def _share_styles(svg: ET.Element) -> None:
    """Say the style of equal markers once, on their group."""
    for group in svg.iter("g"):
        marks = [child for child in group if child.tag == "use"]
        if len(marks) > 1 and len({mark.get("style", "") for mark in marks}) == 1:
            group.set("style", marks[0].get("style", ""))
            for mark in marks:
                mark.attrib.pop("style", None)


def _flatten(element: ET.Element) -> None:
    """Put the children of groups that say nothing in their group's place; leave out what is invisible."""
    children: list[ET.Element] = []
    for child in element:
        _flatten(child)
        if child.get("style") == "fill:none":
            continue
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = children
