"""Sites as a table that fits 80 columns, and below it what went wrong, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from fedstrata.cli.terminal import say
from fedstrata.deploy.flower.site_status import Connection, Happened, SiteStatus
from fedstrata.domain.formatting import clean
from fedstrata.tables.table import Table
from fedstrata.tables.terminal import Terminal

_MOST_LAYERS = 2
_ONLINE = {"online": "yes", "registered": "never"}
"""What the SuperLink calls a connection, in short."""


def show_sites(sites: Sequence[SiteStatus], console: Console, *, note: str = "") -> None:
    """Print the sites of a run.

    Args:
        sites: Ascending by name.
        console: Where to print them.
        note: What has to be said below.
    """
    head = ("site", "online", "# rows", "budget", "refuses", "last", "# MB down", "# MB up")
    console.print(Terminal(Table("", head, tuple(tuple(_cells(site)) for site in sites))))
    for line in (*_troubles(sites), *([note] if note else [])):
        say(console, clean(line))


def show_nodes(nodes: Sequence[Connection], console: Console) -> None:
    """Print the nodes that a SuperLink knows; their names are the operator's list (``flower.sites``), not its own."""
    if not nodes:
        say(console, "no site is registered; register one with: flwr supernode register KEY.pub")
        return
    rows = tuple((node.node, node.status, node.since or "-") for node in nodes)
    console.print(Terminal(Table("", ("node", "status", "since"), rows)))
    say(console, "a SuperLink knows nodes by number; the names of a run's sites: fedstrata sites RUN")


def _cells(site: SiteStatus) -> Iterator[str]:
    yield site.name
    yield _ONLINE.get(site.connection.status, "no") if site.connection else "unknown"
    yield "-" if site.rows is None else f"{site.rows:,}"
    yield site.budget.replace(", ", ",\n") or "-"
    yield _layers(site.refuses)
    yield _when(site.last) if site.last else "-"
    yield f"{site.bytes_down / 1e6:,.2f}"
    yield f"{site.bytes_up / 1e6:,.2f}"


def _layers(names: Sequence[str]) -> str:
    more = [f"{len(names) - _MOST_LAYERS} more"] if len(names) > _MOST_LAYERS else []
    return ",\n".join([*names[:_MOST_LAYERS], *more]) or "-"


def _when(what: Happened) -> str:
    """Return what a site did, with the round.

    Example:
        >>> _when(Happened("train", 1)), _when(Happened("evaluate", 0)), _when(Happened("join", 0))
        ('train 1', 'evaluate 0', 'join')
    """
    return what.phase if what.phase == "join" else f"{what.phase or 'round'} {what.round}"


def _troubles(sites: Sequence[SiteStatus]) -> Iterator[str]:
    for site in sites:
        if site.absent:
            yield f"{site.name} takes no part: {site.absent}"
        elif site.failure:
            yield f"{site.name} failed last at {_when(site.failure)}: {site.failure.why}"
