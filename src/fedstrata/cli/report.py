"""``fedstrata report``: one offline HTML file about one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file; by default report.html in RUN.")] = None,
) -> None:
    """Write a self-contained report: verdict, curves, layer heatmaps, costs, proof of training."""
    from fedstrata.runs.reading import events_of

    for run in runs:
        events_of(run)  # before what draws is imported, which takes a second
    from fedstrata.report.write_report import write_report

    typer.echo(f"report: {write_report(runs, out)}")
