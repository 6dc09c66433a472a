"""Tables and sentences for terminals of any width: words wrap, columns move to a further part, nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedstrata.domain.formatting import clean

_GAP = 2
_WORDS = re.compile(r" (?![A-Za-z%]{1,6}(?:[\s,;:.)]|$))|(?<![0-9.]) ")
"""A blank at which a line may end: any but the one between a number and its unit."""
_JOINTS = re.compile(r"(?<=[/._\-:,=])")
"""Where a word that no line can hold is broken."""


@dataclass(frozen=True, slots=True)
class TerminalTable:
    """A table that rich prints at whatever width there is.

    Attributes:
        head: Column titles.
        rows: Cells; a line break in one is kept.
        numbers: Columns that are set right and whose cells are never wrapped.
        labels: How many columns at the left say what a row is; every part of a table that is too wide repeats them.
        title: A line above.
        foot: A last row below a rule; empty for none.
        ruled: Rows that have a rule above them.
        styles: Style of a row, by its index.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    labels: int = 1
    title: str = ""
    foot: tuple[str, ...] = ()
    ruled: frozenset[int] = frozenset()
    styles: Mapping[int, str] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table's lines."""
        rule = "-" if options.ascii_only else "─"
        if self.title:
            yield from (Text(line, style="bold") for line in wrapped(clean(self.title), options.max_width))
        for number, part in enumerate(_parts(self, options.max_width)):
            if number:
                yield Text("")
            yield from _drawn(self, part, rule)


def wrapped(text: str, width: int, *, breaking: bool = False) -> list[str]:
    """Return a text in lines of at most ``width`` cells, broken between words; its own line breaks and indents stay.

    Args:
        text: What to wrap.
        width: Cells per line.
        breaking: Break a word that is longer than a line too; else it stands alone and whole, so that it can be copied.

    Example:
        >>> wrapped("budget of 1.50 MB up", 14)
        ['budget of', '1.50 MB up']
    """
    return [line for part in text.split("\n") for line in _wrapped(part, max(width, 1), breaking=breaking)]


def _wrapped(text: str, width: int, *, breaking: bool) -> Iterator[str]:
    indent = text[: len(text) - len(text.lstrip(" "))][: width // 2]  # there is room for something behind it
    line = ""
    for word in _WORDS.split(text.strip(" ")):
        if line and cell_len(f"{indent}{line} {word}") <= width:
            line = f"{line} {word}"
            continue
        if line:
            yield indent + line
        line = word
        while breaking and (head := _head(line, width - len(indent))) != line:
            yield indent + head
            line = line[len(head) :]
    yield indent + line


def _head(word: str, width: int) -> str:
    """Return as much of a word's beginning as a line holds, to a joint of the word if there is one."""
    most, used = 0, 0
    for character in word:
        used += cell_len(character)
        if used > width and most:
            break
        most += 1
    if most == len(word):
        return word
    joints = [found.start() for found in _JOINTS.finditer(word[: most + 1]) if 0 < found.start() <= most]
    return word[: joints[-1] if joints else most]


@dataclass(frozen=True, slots=True)
class _Part:
    """Columns that stand side by side, and the width of each."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def _parts(table: TerminalTable, width: int) -> Iterator[_Part]:
    """Yield the parts of a table: as few as there is room for, each with the columns that say what a row is."""
    columns = [[table.head[j], *(row[j] for row in (*table.rows, *_foot(table)))] for j in range(len(table.head))]
    columns = [[clean(cell) for cell in column] for column in columns]
    widest = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    labels = range(table.labels)
    room = max(width - sum(_least(table, columns, j, width) + _GAP for j in labels), 8)
    least = [_least(table, columns, j, width if j in labels else room) for j in range(len(columns))]
    start = table.labels
    while True:
        end, used = start, sum(least[j] + _GAP for j in labels)
        while end < len(columns) and (end == start or used + least[end] <= width):
            used, end = used + least[end] + _GAP, end + 1
        chosen = (*labels, *range(start, end))
        yield _Part(chosen, _widths([least[j] for j in chosen], [widest[j] for j in chosen], width))
        start = end
        if start >= len(columns):
            return


def _foot(table: TerminalTable) -> tuple[tuple[str, ...], ...]:
    return (table.foot,) if table.foot else ()


def _least(table: TerminalTable, columns: Sequence[Sequence[str]], j: int, room: int) -> int:
    """Return the narrowest a column can be: its longest number or word, or what of it there is room for."""
    head, *cells = columns[j]
    pieces = [word for line in head.split("\n") for word in _WORDS.split(line)]
    for cell in cells:
        lines = cell.split("\n")
        pieces += lines if j in table.numbers else [word for line in lines for word in _least_words(line)]
    longest = max(map(cell_len, pieces), default=1)
    if j >= table.labels:
        return max(min(longest, room), 1)
    whole = max(cell_len(line) for cell in columns[j] for line in cell.split("\n"))
    longest = max(longest, min(whole, 2 * room // (5 * table.labels)))  # a label is easier to find in one line
    return max(min(longest, room // (2 * table.labels)), 1)


def _least_words(line: str) -> list[str]:
    indent = len(line) - len(line.lstrip(" "))
    return [" " * indent + word for word in _WORDS.split(line.strip(" "))]


def _widths(least: Sequence[int], widest: Sequence[int], width: int) -> tuple[int, ...]:
    """Return the widths of columns: what is left over goes to those that lack most."""
    found = list(least)
    left = width - sum(found) - _GAP * (len(found) - 1)
    while left > 0 and any(f < w for f, w in zip(found, widest, strict=True)):
        j = max(range(len(found)), key=lambda j: widest[j] - found[j])
        found[j], left = found[j] + 1, left - 1
    return tuple(found)


def _drawn(table: TerminalTable, part: _Part, rule: str) -> Iterator[Text]:
    line = Text(rule * (sum(part.widths) + _GAP * (len(part.widths) - 1)))
    yield from _row(table, part, table.head, "bold")
    yield line
    for number, row in enumerate(table.rows):
        if number in table.ruled:
            yield line
        yield from _row(table, part, row, table.styles.get(number, ""))
    for foot in _foot(table):
        yield line
        yield from _row(table, part, foot, "bold")


def _row(table: TerminalTable, part: _Part, row: Sequence[str], style: str) -> Iterator[Text]:
    cells = [wrapped(clean(row[j]), width, breaking=True) for j, width in zip(part.columns, part.widths, strict=True)]
    for k in range(max(map(len, cells))):
        shown = [
            _set(cell[k] if k < len(cell) else "", width, right=j in table.numbers)
            for j, width, cell in zip(part.columns, part.widths, cells, strict=True)
        ]
        yield Text((" " * _GAP).join(shown).rstrip(), style=style, overflow="fold")


def _set(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank
