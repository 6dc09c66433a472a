"""Texts in the cells of a CSV file: spreadsheets run what begins with certain characters as a formula."""

from __future__ import annotations

import re

_RUN = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are wide forms, read as the first


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
