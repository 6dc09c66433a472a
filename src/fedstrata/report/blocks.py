"""What a page is made of: plain values that the template lays out, and nothing that knows of HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from fedstrata.tables.table import Meter as Meter
from fedstrata.tables.table import Table as Table
from fedstrata.tables.table import TableCell as TableCell

MOST_TOLD, MOST_CELLS = 120, 24
"""Marks of a picture, and cells of a heatmap, whose counts can be read in it, that are listed as text."""
_TITLE = re.compile(r"<title>([^<]+)</title>")


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``lead`` makes it stand out, ``title`` makes it a heading."""

    kind: ClassVar[str] = "text"
    text: str
    lead: bool = False
    title: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A statement that was checked, with its outcome."""

    kind: ClassVar[str] = "check"
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader must know before trusting the rest."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure with its caption.

    Attributes:
        wide: Whether it keeps its size and scrolls on a small screen.
        lead: What it shows, above it.
        small: Whether it needs less room than a curve.
    """

    svg: Markup
    caption: str
    wide: bool = False
    lead: str = ""
    small: bool = False

    @property
    def told(self) -> tuple[Markup, ...]:
        """What pointing at its marks shows, as text, for screens on which nothing can be pointed at; so many."""
        found = list(dict.fromkeys(_TITLE.findall(str(self.svg))))
        most = MOST_CELLS if self.wide else MOST_TOLD
        rest = len(found) - most
        return tuple(map(Markup, [*found[:most], *([f"{rest:,} more"] if rest > 0 else [])]))


@dataclass(frozen=True, slots=True)
class Pictures:
    """Figures side by side where there is room."""

    kind: ClassVar[str] = "pictures"
    items: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """The legend of the curves: label and style of each."""

    kind: ClassVar[str] = "key"
    items: tuple[tuple[str, int], ...]
    parts: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """Text that is shown as it is."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks behind a line that opens them."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: tuple[Block, ...]


Block = Text | Check | Note | Pictures | Key | Table | Code | Fold


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page; ``key`` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    nested: tuple[RunPart, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPart:
    """All sections of one run, folded."""

    key: str
    title: str
    sections: tuple[Section, ...]


def folded(table: Table, *, limit: int = 16) -> Block:
    """Return the table, behind a line if it has many rows."""
    if len(table.rows) <= limit:
        return table
    return Fold(f"{table.caption} ({len(table.rows)} rows)", (table,))
