"""``fedstrata plan``: what a run will ask of its clients, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstrata.cli.options import Set
from fedstrata.errors import ConfigError

if TYPE_CHECKING:
    from fedstrata.planning.subject import Assumed


def plan(
    config: Annotated[Path, typer.Argument(help="YAML file; 'fedstrata init' writes one.")],
    *,
    set: Set = None,
    clients: Annotated[int | None, typer.Option(min=1, help="Plan without data, for this many clients.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Their training rows each.")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Tokens of their texts.")] = None,
    selector: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Compare this selector too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, every client included.")] = False,
) -> None:
    """Say what a configuration's masks cost, what its clients can pay for, and what its selectors will use.

    Nothing is trained, no weights are read, and no run folder is made. Where a run would refuse the budgets, the
    plan is printed all the same, and the exit code is the run's.
    """
    from fedstrata.assembly.places import check_places
    from fedstrata.config.load import load_config

    loaded = load_config(config, set or [])
    check_places(loaded, weights=False, rows=clients is None)
    from json import dumps

    from fedstrata.cli.plan_table import show
    from fedstrata.cli.terminal import output
    from fedstrata.planning.plan import make_plan
    from fedstrata.planning.plan_json import plan_json

    made = make_plan(loaded, assumed=_assumed(clients, rows, length), selectors=selector or [])
    if json:
        typer.echo(dumps(plan_json(made), indent=2))
    else:
        show(made, str(config), output())
    if made.subject.prepared.refusals:
        raise ConfigError("\n".join(made.subject.prepared.refusals))


def _assumed(clients: int | None, rows: int | None, length: int | None) -> Assumed | None:
    from fedstrata.planning.subject import Assumed

    if clients is not None and rows is not None:
        return Assumed(clients, rows, length)
    given = {"--clients": clients, "--rows": rows, "--length": length}
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ConfigError(
            f"{' and '.join(named)} plan without data, which needs --clients and --rows, and --length for texts"
        )
    return None
