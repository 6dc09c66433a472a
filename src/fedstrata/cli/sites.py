"""``fedstrata sites``: which sites are online, what each has and can pay, and what it did last."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstrata.errors import FedstrataError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedstrata.deploy.flower.site_status import Connection, SiteStatus

_WAIT = 300.0  # seconds for Flower's own command


def sites(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run over Flower.")] = None,
    superlink: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Connection in Flower's config.toml; else the run's, or the default one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the sites of a run, and who is online; without RUN, the nodes that the SuperLink knows."""
    from fedstrata.cli.sites_table import show_nodes, show_sites
    from fedstrata.cli.terminal import output
    from fedstrata.deploy.flower.site_status import connected, sites_of, superlink_of

    if run is None:
        nodes = _nodes(superlink)
        if json:
            _echo({"nodes": [asdict(node) for node in nodes]})
        else:
            show_nodes(nodes, output())
        return
    known, note = sites_of(run), ""
    try:
        known = connected(known, _nodes(superlink or superlink_of(run)))
    except FedstrataError as error:
        note = f"who is online is not known: {error}"
    else:
        note = _strangers(known)
    if json:
        _echo({"run": str(run), "note": note, "sites": [_plain(site) for site in known]})
    else:
        show_sites(known, output(), note=note)


def _nodes(superlink: str | None) -> tuple[Connection, ...]:
    """Ask the SuperLink which nodes are connected.

    Raises:
        TrainingError: It does not answer, or Flower is not installed.
    """
    try:
        from fedstrata.deploy.flower.services import flwr_json
    except ImportError as error:
        raise TrainingError("Flower is not installed; pip install 'fedstrata[flower]'") from error
    from fedstrata.deploy.flower.site_status import connections

    arguments = ["supernode", "list", *([superlink] if superlink else [])]
    return connections(flwr_json(arguments, home=None, timeout=_WAIT))


def _strangers(sites: Sequence[SiteStatus]) -> str:
    """Return a sentence about the sites that joined over connections that the SuperLink does not have."""
    names = [site.name for site in sites if not site.absent and site.connection is None]
    if not names:
        return ""
    return f"the SuperLink has no longer the connection by which the run knew {', '.join(names)}"


def _plain(site: SiteStatus) -> dict[str, object]:
    """Return a site as plain values."""
    return {**asdict(site), "online": None if site.connection is None else site.connection.status == "online"}


def _echo(values: dict[str, object]) -> None:
    typer.echo(json_module.dumps(values, indent=1))
