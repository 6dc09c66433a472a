"""A table as a value, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fedstrata.domain.formatting import clean


@dataclass(frozen=True, slots=True)
class Meter:
    """A cell with a small bar on a page, and a tick at a limit; elsewhere its text alone.

    Attributes:
        share: Length of the bar, in [0, 1].
        limit: Place of the tick, in [0, 1], or ``None``.
        over: Whether the bar is past the limit.
    """

    text: str
    share: float
    limit: float | None = None
    over: bool = False

    def __str__(self) -> str:
        """Return the text."""
        return self.text


TableCell = str | Meter


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``tables.terminal`` prints it, ``markdown`` writes it, and a page's template lays it out.

    Attributes:
        caption: What it shows, in a few words.
        head: Column titles; one that begins with ``#`` is a column of numbers: set right, never wrapped, and written by
            us, so that nothing in it is escaped.
        rows: Cells; a line break in one is kept on a terminal.
        strong: Rows that stand out.
        faint: Rows that stand back.
        ruled: Rows that have a rule above them.
        labels: How many columns at the left say what a row is; a table that is too wide repeats them in every part.
    """

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    strong: frozenset[int] = frozenset()
    faint: frozenset[int] = frozenset()
    ruled: frozenset[int] = frozenset()
    labels: int = 1

    @property
    def titles(self) -> tuple[str, ...]:
        """Column titles as they are shown."""
        return tuple(title.removeprefix("#").removeprefix(" ") for title in self.head)

    @property
    def numbers(self) -> frozenset[int]:
        """Columns of numbers."""
        return frozenset(j for j, title in enumerate(self.head) if title.startswith("#"))


def markdown(table: Table) -> str:
    r"""Return a table's head and rows as Markdown, without a newline at the end; what stands out begins bold.

    Example:
        >>> print(markdown(Table("", ("method", "# MB up"), (("a|b", "2.00"), ("top", "<1")), strong=frozenset({1}))))
        | method | MB up |
        |---|---:|
        | a\|b | 2.00 |
        | **top** | <1 |
    """
    rule = "|".join("---:" if j in table.numbers else "---" for j in range(len(table.head)))
    lines = [_line([escaped(title) for title in table.titles]), f"|{rule}|"]
    for place, row in enumerate(table.rows):
        first, *rest = (str(cell) if j in table.numbers else escaped(str(cell)) for j, cell in enumerate(row))
        lines.append(_line([f"**{first}**" if place in table.strong else first, *rest]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    r"""Return a text as one line in which Markdown sees nothing.

    Example:
        >>> print(escaped("a|b *c*"))
        a\|b \*c\*
    """
    flat = " ".join(clean(text).split())
    for character in "\\|`*_<[":
        flat = flat.replace(character, "\\" + character)
    return flat
