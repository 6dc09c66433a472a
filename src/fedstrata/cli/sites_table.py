"""Sites as a table that fits 80 columns, and below it what went wrong, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from fedstrata.flower.watch import Connection, Happened, SiteStatus

_MOST_LAYERS = 2
_ONLINE = {"online": "yes", "registered": "never"}
"""What the SuperLink calls a connection, in short."""


def show_sites(sites: Sequence[SiteStatus], console: Console, *, note: str = "") -> None:
    """Print the sites of a run; rounds count from 1, as in its progress.

    Args:
        sites: Ascending by name.
        console: Where to print them.
        note: What has to be said below.
    """
    table = _table()
    table.add_column("site", overflow="fold")
    table.add_column("online", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for name in ("budget", "refuses"):
        table.add_column(name, overflow="fold")
    table.add_column("last", no_wrap=True)
    for name in ("MB\ndown", "MB\nup"):
        table.add_column(name, justify="right", no_wrap=True)
    for site in sites:
        table.add_row(*_cells(site))
    console.print(table)
    for line in (*_troubles(sites), *([note] if note else [])):
        console.print(line, markup=False, soft_wrap=True)


def show_nodes(nodes: Sequence[Connection], console: Console) -> None:
    """Print the nodes that a SuperLink knows; their names are the operator's list (``flower.sites``), not its own."""
    if not nodes:
        console.print("no site is registered; register one with: flwr supernode register KEY.pub", markup=False)
        return
    table = _table()
    for name in ("node", "status", "since"):
        table.add_column(name, no_wrap=True)
    for node in nodes:
        table.add_row(node.node, node.status, node.since or "-")
    console.print(table)
    console.print("names are a run's: fedstrata sites RUN", markup=False)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


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
    """Return what a site did, with the round as people count.

    Example:
        >>> _when(Happened("train", 0)), _when(Happened("evaluate", 1)), _when(Happened("join", -1))
        ('train 1', 'evaluate 1', 'join')
    """
    if what.round < 0:
        return what.phase
    return f"{what.phase or 'round'} {what.round if what.phase == 'evaluate' else what.round + 1}"


def _troubles(sites: Sequence[SiteStatus]) -> Iterator[str]:
    for site in sites:
        if site.absent:
            yield f"{site.name} takes no part: {site.absent}"
        elif site.failure:
            yield f"{site.name} failed last at {_when(site.failure)}: {site.failure.why}"
