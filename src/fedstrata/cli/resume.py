"""``fedstrata resume``: go on with an interrupted run, to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstrata.cli.run import Json, Quiet, Workers, worker_overrides


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    workers: Workers = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Go on with a run from its newest checkpoint."""
    from fedstrata.cli.session import play
    from fedstrata.config.build import reopen_run

    return play(reopen_run(folder, worker_overrides(workers)), resume=True, quiet=quiet or json, as_json=json)
