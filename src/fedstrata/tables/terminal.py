"""Tables and sentences for terminals of any width: words wrap, columns move to a further part, nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedstrata.domain.formatting import clean
from fedstrata.tables.table import Table

_GAP = 2
_WORDS = re.compile(r" (?![A-Za-z%]{1,6}[,;:.)]*(?:\s|$))|(?<![0-9.]) ")
"""A blank at which a line may end: any but the one between a number and its unit."""
_JOINTS = re.compile(r"(?<=[ /._\-:,=])")
"""Where a word, or a number with its unit, is broken that no line can hold."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A table that rich prints at whatever width there is; text is never read as markup."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table's lines."""
        width, rule = options.max_width, "-" if options.ascii_only else "─"
        if self.table.caption:
            yield from (Text(line, style="italic") for line in wrapped(clean(self.table.caption), width))
        for number, part in enumerate(_parts(self.table, width)):
            if number:
                yield Text("")
            yield from _drawn(part, self.table, rule)


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
class _Column:
    """A column as it is printed.

    Attributes:
        title: Its title.
        cells: Its cells.
        number: Whether it is set right, and no cell of it is wrapped.
        widest: Width at which no line of it is wrapped.
        width: How wide it is; at first the narrowest it can be, which is its longest number or word.
    """

    title: str
    cells: Sequence[str]
    number: bool
    widest: int
    width: int


def _columns(table: Table) -> Iterator[_Column]:
    for j, title in enumerate(map(clean, table.titles)):
        cells, number = [clean(str(row[j])) for row in table.rows], j in table.numbers
        lines = [line for cell in cells for line in cell.split("\n")]
        words = lines if number else [word for line in lines for word in _least_words(line)]
        widest = max(map(cell_len, [*title.split("\n"), *lines]))
        least = max(map(cell_len, [*words, *(word for line in title.split("\n") for word in _WORDS.split(line))]))
        yield _Column(title, cells, number, widest, least)


def _parts(table: Table, width: int) -> Iterator[Sequence[_Column]]:
    """Yield the parts of a table: as few as there is room for, each with the columns that say what a row is."""
    columns, count = list(_columns(table)), table.labels
    labels = []
    for column in columns[:count]:  # together they take half of the width at most
        least = max(column.width, min(column.widest, 2 * width // (5 * count)))  # a label is easier to find in one line
        labels.append(replace(column, width=max(min(least, width // (2 * count)), 1)))
    taken = sum(label.width + _GAP for label in labels)
    room = max(width - taken, 8)
    part, used = list(labels), taken
    for column in columns[count:]:
        narrow = replace(column, width=max(min(column.width, room), 1))
        if len(part) > count and used + narrow.width > width:
            yield _widened(part, width)
            part, used = list(labels), taken
        part.append(narrow)
        used += narrow.width + _GAP
    yield _widened(part, width)


def _least_words(line: str) -> list[str]:
    indent = len(line) - len(line.lstrip(" "))
    return [" " * indent + word for word in _WORDS.split(line.strip(" "))]


def _widened(part: Sequence[_Column], width: int) -> Sequence[_Column]:
    """Return the columns of a part with the width that is left over, which goes to those that lack most."""
    found = [column.width for column in part]
    left = width - sum(found) - _GAP * (len(found) - 1)
    while left > 0 and any(f < column.widest for f, column in zip(found, part, strict=True)):
        j = max(range(len(found)), key=lambda j: part[j].widest - found[j])
        found[j], left = found[j] + 1, left - 1
    return [replace(column, width=f) for f, column in zip(found, part, strict=True)]


def _drawn(part: Sequence[_Column], table: Table, rule: str) -> Iterator[Text]:
    line = Text(rule * (sum(column.width for column in part) + _GAP * (len(part) - 1)))
    yield from _row(part, [column.title for column in part], "bold")
    yield line
    for number in range(len(table.rows)):
        if number in table.ruled:
            yield line
        style = "bold" if number in table.strong else "dim" if number in table.faint else ""
        yield from _row(part, [column.cells[number] for column in part], style)


def _row(part: Sequence[_Column], texts: Sequence[str], style: str) -> Iterator[Text]:
    cells = [wrapped(text, column.width, breaking=True) for text, column in zip(texts, part, strict=True)]
    for lines in zip_longest(*cells, fillvalue=""):
        shown = []
        for line, column in zip(lines, part, strict=True):
            blank = " " * (column.width - cell_len(line))
            shown.append(blank + line if column.number else line + blank)
        yield Text((" " * _GAP).join(shown).rstrip(), style=style, overflow="fold")
