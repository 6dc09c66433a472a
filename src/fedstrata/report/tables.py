"""Result tables for people: the same rows for a terminal (rich) and for a document (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fedstrata.domain.formatting import clean, duration, megabytes, percent, short_names
from fedstrata.report.terminal import TerminalTable
from fedstrata.runs.records import Run

_HEAD = ("method", "accuracy", "best", "MB up", "time", "layers chosen")


@dataclass(frozen=True, slots=True)
class Result:
    """One row of a result table.

    Attributes:
        method: Name of the method.
        accuracy: After the last round, in [0, 1]; ``None`` if it was not measured.
        best: Best after any round; ``None`` if it was not measured.
        bytes_up: Uploaded by all clients in all rounds.
        seconds: Wall time.
        selection: What was selected, in a few words.
        setting: Rows of one setting stand together (the demo's shift); empty for none.
    """

    method: str
    accuracy: float | None
    best: float | None
    bytes_up: float
    seconds: float
    selection: str = ""
    setting: str = ""


def terminal_table(results: Sequence[Result], *, title: str | None = None) -> TerminalTable:
    """Return the results as a table for rich; text is never read as markup.

    Example:
        >>> terminal_table([Result("full", 0.5, 0.6, 2e6, 3.0)]).rows[0][:3]
        ('full', '50.0%', '60.0%')
    """
    settings = any(r.setting for r in results)
    head = (("setting",) if settings else ()) + _HEAD
    return TerminalTable(
        head=head,
        rows=tuple((*((r.setting,) if settings else ()), *_cells(r)) for r in results),
        numbers=frozenset(j for j, name in enumerate(head) if name in _HEAD[1:5]),
        labels=2 if settings else 1,
        title=title or "",
        ruled=frozenset(i for i in range(1, len(results)) if results[i].setting != results[i - 1].setting),
    )


def markdown_table(results: Sequence[Result]) -> str:
    r"""Return the results as a Markdown table that ends with a newline; text is escaped.

    Example:
        >>> print(markdown_table([Result("a|b", 0.5, None, 2e6, 3.0, "0")]), end="")
        | method | accuracy | best | MB up | time | layers chosen |
        |---|---:|---:|---:|---:|---|
        | a\|b | 50.0% | – | 2.00 | 3.0 s | 0 |
    """
    settings = any(r.setting for r in results)
    head = (("setting",) if settings else ()) + _HEAD
    rule = "|".join("---:" if name in _HEAD[1:5] else "---" for name in head)
    lines = [_line(head), f"|{rule}|"]
    for result in results:
        shown = (result.setting,) if settings else ()
        lines.append(_line([escaped(cell) for cell in (*shown, *_cells(result))]))
    return "\n".join(lines) + "\n"


def layers_chosen(runs: Sequence[Run], *, most: int = 2) -> str:
    """Return how many layers a client trained per round, and which were chosen most, in a few words.

    The shares are of all client-rounds of all runs; runs of one method have the same layers.
    """
    masks = [c.mask for run in runs for r in run.log.rounds for c in r.clients]
    layers = runs[0].log.header.layers
    if not masks or not layers:
        return "nothing ran"
    average = fmean(len(m) for m in masks)
    if average == 0:
        return f"0 of {len(layers)}"
    if average == len(layers):
        return f"all {len(layers)}"
    counts = [sum(i in m for m in masks) for i in range(len(layers))]
    top = [i for i in sorted(range(len(layers)), key=lambda i: -counts[i]) if counts[i]][:most]
    names = short_names(layers)
    shares = ", ".join(f"{names[i]} {100 * counts[i] / len(masks):.0f}%" for i in top)
    return f"{average:.3g} of {len(layers)}: {shares}"


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.method,
        percent(result.accuracy),
        percent(result.best),
        megabytes(result.bytes_up),
        duration(result.seconds),
        result.selection,
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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
