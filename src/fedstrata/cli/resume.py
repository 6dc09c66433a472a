"""``fedstrata resume``: go on with an interrupted run, to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstrata.cli.options import Engine, Json, Quiet, Set, Workers, engine_overrides


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", min=1, help="Rounds of the whole run, such as more of them.")
    ] = None,
    set: Set = None,
    workers: Workers = None,
    engine: Engine = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Go on with a run from its newest checkpoint, to the rounds that it was to have or to more of them.

    --set takes what every round reads anew, such as train.lr; all else is the run itself, and refused.
    """
    from fedstrata.assembly.output import begun, run_folder

    if rounds is not None or set:
        run_folder(folder)
        from fedstrata.assembly.revise import Revision, revise

        revise(folder, Revision(rounds, tuple(set or ())))
    overrides = engine_overrides(engine, workers)
    loaded, _ = begun(folder, overrides)
    if loaded.config.engine == "flower":
        from fedstrata.cli.over_flower import play_over_flower

        return play_over_flower(loaded, resume=folder, quiet=quiet or json, as_json=json)
    from fedstrata.assembly.run import reopen_run
    from fedstrata.cli.session import play

    return play(reopen_run(folder, overrides), resume=True, quiet=quiet or json, as_json=json)
