"""``fedstrata run``: train from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C ended early; it is saved and can be resumed."""

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.lr=0.1.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the last line.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=0, help="Clients execute in so many processes; 0 is one per core."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of words.")]


def run(
    config: Annotated[Path, typer.Argument(help="YAML file; 'fedstrata init' writes one.")],
    set: Set = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train a model as a configuration says, and leave a run folder.

    Ctrl-C once finishes the round and saves; 'fedstrata resume' goes on from there.
    """
    from fedstrata.cli.session import play
    from fedstrata.config.build import prepare_run
    from fedstrata.config.load import load_config

    loaded = load_config(config, [*(set or []), *worker_overrides(workers)])
    return play(prepare_run(loaded), resume=False, quiet=quiet or json, as_json=json)


def worker_overrides(workers: int | None) -> list[str]:
    """Return what ``--workers`` changes in a configuration.

    Example:
        >>> worker_overrides(None), worker_overrides(0), worker_overrides(2)
        ([], ['engine=processes', 'workers=null'], ['engine=processes', 'workers=2'])
    """
    return [] if workers is None else ["engine=processes", f"workers={workers or 'null'}"]
