"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.lr=0.1.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the last line.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=0, help="Clients execute in so many processes; 0 is one per core."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="Where clients execute: local, processes, ray, flower, flower-simulation.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of words.")]


def engine_overrides(engine: str | None, workers: int | None) -> list[str]:
    """Return what ``--engine`` and ``--workers`` change in a configuration; the latter alone means processes.

    Example:
        >>> engine_overrides(None, None), engine_overrides(None, 0), engine_overrides("processes", 2)
        ([], ['engine=processes', 'workers=null'], ['engine=processes', 'workers=2'])
        >>> engine_overrides("flower", None)
        ['engine=flower', 'workers=null']
    """
    if engine is None and workers is None:
        return []
    changed = [f"engine={engine or 'processes'}"]
    if workers is not None or engine != "processes":
        changed.append(f"workers={workers or 'null'}")
    return changed
