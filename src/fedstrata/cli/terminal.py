"""Where the command line prints: how wide it is, and sentences that end lines between words."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Column
from rich.text import Text

from fedstrata.tables.terminal import wrapped

PIPE = 10_000
"""Width where there is no terminal: a pipe has no edge to wrap at."""


def output() -> Console:
    """Return standard output: as wide as the terminal, or as ``COLUMNS`` says; text is never read as markup."""
    console = Console(highlight=False, markup=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(highlight=False, markup=False, width=PIPE)


def wrapping() -> Column:
    """Return a column of a progress display that wraps on a narrow terminal; rich's own cuts its text off."""
    return Column(no_wrap=False, overflow="fold")


def say(console: Console, line: str) -> None:
    """Print a line as it is, without markup; on a terminal it is wrapped between words, and no word is split.

    Elsewhere it stays one line.
    """
    lines = wrapped(line, console.width) if console.is_terminal else [line]
    for part in lines:
        console.print(Text(part), soft_wrap=True)
