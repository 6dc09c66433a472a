"""``fedstrata compare``: methods side by side over seeds, with intervals, paired tests and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstrata.errors import ConfigError

if TYPE_CHECKING:
    from fedstrata.comparison.inputs import Gathered
    from fedstrata.comparison.methods import Contest


class Order(StrEnum):
    """How methods are sorted."""

    GIVEN = "given"
    MEAN = "mean"


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUNS...", help="Run folders, folders that hold them, a sweep's output, results files."),
    ],
    *,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="Method that the others are compared with; by default consensus, else the first."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="ACC", help="Also show the cost of reaching this accuracy, such as 0.6 or 60%."),
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Methods that are single fixed layers; the best becomes the oracle."),
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare this budget only; may be repeated.")
    ] = None,
    sort: Annotated[Order, typer.Option(help="Methods as they come, or by mean accuracy.")] = Order.GIVEN,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results, one line per run.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables as Markdown.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write tables and plots as one offline page.")
    ] = None,
    note: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Line to put above the tables in written files; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare methods over seeds: means with intervals, paired differences, clients, costs, layers."""
    from fedstrata.comparison.inputs import gather

    found = gather(runs)  # before intervals and plots are imported, which takes a second
    from fedstrata.comparison.compare import compare as compared
    from fedstrata.comparison.methods import Rules

    rules = Rules(reference, _share(target), oracle, tuple(budget or ()), by_mean=sort is Order.MEAN)
    contests = compared(found.outcomes, rules)
    notes = (*(note or ()), *found.notes)
    written = list(_write(found, contests, csv=csv, markdown=markdown, html=html, notes=notes))
    _show(contests, found.notes, as_json=as_json)
    for path in written:
        typer.echo(f"written: {path}", err=as_json)


def _share(target: str | None) -> float | None:
    if target is None:
        return None
    text = target.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"--target '{target}' is no accuracy; write one from 0 to 1, such as 0.6, or 60%")
    return share


def _write(
    found: Gathered,
    contests: Sequence[Contest],
    *,
    csv: Path | None,
    markdown: Path | None,
    html: Path | None,
    notes: Sequence[str],
) -> Iterator[Path]:
    """Write the files that are asked for, and yield their paths."""
    from fedstrata.comparison.results import write_outcomes
    from fedstrata.files import write_atomic, writing
    from fedstrata.report.compare_html import write_page
    from fedstrata.report.compare_views import markdown as as_markdown

    writers: tuple[tuple[Path | None, Callable[[Path], object]], ...] = (
        (csv, lambda path: write_outcomes(path, found.outcomes)),
        (markdown, lambda path: write_atomic(path, as_markdown(contests, notes=notes), shared=True)),
        (html, lambda path: write_page(path, contests, notes=notes)),
    )
    for path, write in writers:
        if path is None:
            continue
        with writing(path, "name a file in a folder of yours"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        yield path


def _show(contests: Sequence[Contest], notes: Sequence[str], *, as_json: bool) -> None:
    from fedstrata.report.compare_views import json_values, terminal_views

    if as_json:
        typer.echo(json.dumps(json_values(contests, notes=notes), indent=2))
        return
    from fedstrata.cli.terminal import output, say

    console = output()
    for view in terminal_views(contests):
        console.print(view)
        console.print()
    for note in notes:
        say(console, f"! {note}")
