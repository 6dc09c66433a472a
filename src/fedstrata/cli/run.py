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
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="NAME", help="Where clients execute: local, processes, flower, flower-simulation."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of words.")]


def run(
    config: Annotated[Path, typer.Argument(help="YAML file; 'fedstrata init' writes one.")],
    set: Set = None,
    workers: Workers = None,
    engine: Engine = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train a model as a configuration says, and leave a run folder.

    Ctrl-C once finishes the round and saves; 'fedstrata resume' goes on from there.
    """
    from fedstrata.config.load import load_config
    from fedstrata.config.places import check_places

    loaded = load_config(config, [*(set or []), *engine_overrides(engine, workers)])
    check_places(loaded)
    if loaded.config.engine == "flower":
        from fedstrata.cli.over_flower import play_over_flower

        return play_over_flower(loaded, resume=None, quiet=quiet or json, as_json=json)
    from fedstrata.cli.session import play
    from fedstrata.config.build import prepare_run

    return play(prepare_run(loaded), resume=False, quiet=quiet or json, as_json=json)


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
