"""CSV that reads back as it was, and that no spreadsheet runs: texts that begin as formulas do are marked."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_RUN = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are wide forms, read as the first


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a header and rows as CSV; numbers keep all their digits, ``None`` is empty.

    Example:
        >>> csv_text(["a", "b"], [["=1", 0.1], ["two\nlines", None]])
        'a,b\n\'=1,0.1\n"two\nlines",\n'
    """
    return "".join(_line([_written(value) for value in row]) for row in (head, *rows))


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # a carriage return in a cell is quoted for this end only
    return out.getvalue().removesuffix("\r\n") + "\n"


def _written(value: object) -> str:
    if value is None:
        return ""
    return cell(value) if isinstance(value, str) else repr(value)


def cell(text: str) -> str:
    """Return a text as it is written: behind an apostrophe if it would be run, as spreadsheets themselves mark texts.

    Example:
        >>> cell("=1+1"), cell("'=1"), cell("top"), cell("it's")
        ("'=1+1", "''=1", 'top', "it's")
    """
    return f"'{text}" if _RUN.match(text) else text


def text_of(cell: str) -> str:
    """Return the text that a cell was made of; a file of an older version has such texts as they are.

    Example:
        >>> text_of("'=1+1"), text_of("''=1"), text_of("top"), text_of("=1+1")
        ('=1+1', "'=1", 'top', '=1+1')
    """
    return cell[1:] if cell.startswith("'") and _RUN.match(cell) else cell
