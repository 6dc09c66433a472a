"""``fedstrata run``: train from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstrata.cli.options import Engine, Json, Quiet, Set, Workers, engine_overrides


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
    from fedstrata.assembly.places import check_places
    from fedstrata.config.load import load_config

    loaded = load_config(config, [*(set or []), *engine_overrides(engine, workers)])
    check_places(loaded)
    if loaded.config.engine == "flower":
        from fedstrata.cli.over_flower import play_over_flower

        return play_over_flower(loaded, resume=None, quiet=quiet or json, as_json=json)
    from fedstrata.assembly.run import prepare_run
    from fedstrata.cli.session import play

    return play(prepare_run(loaded), resume=False, quiet=quiet or json, as_json=json)
