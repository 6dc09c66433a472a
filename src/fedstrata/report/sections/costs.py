"""Costs: bytes, time and memory of the run, and what each client gave against its budget."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import fmean

from fedstrata.domain.records import ClientRecord
from fedstrata.report.blocks import Block, Check, Meter, Table, TableCell, folded
from fedstrata.report.records import Run
from fedstrata.report.words import NOTHING, duration, listing, megabytes, number, plural

_HEAD = (
    "client",
    "# rounds",
    "# layers per round",
    "# budget",
    "# MB up",
    "# MB down",
    "# probing",
    "# training",
    "# failures",
)


def costs(run: Run) -> tuple[Block, ...]:
    """Return totals, whether every budget was kept, and a row per client."""
    if not run.log.rounds:
        return (Table("Totals", ("", "#"), (("Rounds", "0"),)),)
    return (_totals(run), _budgets(run), _clients(run))


def _totals(run: Run) -> Table:
    rounds = run.log.rounds
    clients = [c for r in rounds for c in r.clients]
    up, down = sum(r.bytes_up for r in rounds), sum(r.bytes_down for r in rounds)
    seconds = sum(r.seconds for r in rounds)
    probing, training = sum(c.seconds_probe for c in clients), sum(c.seconds_train for c in clients)
    peak = max(r.peak_bytes for r in rounds)
    rows = (
        ("Uploaded by all clients", f"{megabytes(up)} MB ({megabytes(up / len(rounds))} MB per round)"),
        ("Downloaded by all clients", f"{megabytes(down)} MB ({megabytes(down / len(rounds))} MB per round)"),
        (
            "Time of all rounds, without evaluation",
            f"{duration(seconds)} ({duration(seconds / len(rounds))} per round)",
        ),
        ("Clients' time for probing and training", f"{duration(probing)} and {duration(training)}"),
        ("Peak memory of the process", f"{peak / 1e6:,.0f} MB" if peak else NOTHING),
        ("Clients per round, on average", number(fmean(len(r.clients) for r in rounds))),
    )
    return Table("Totals (1 MB = 1,000,000 bytes)", ("", "#"), rows)


def _budgets(run: Run) -> Check:
    turns = [c for r in run.log.rounds for c in r.clients]
    over = [c for c in turns if len(c.mask) > c.budget]
    if not over:
        return Check(
            True, f"No mask holds more layers than its client's budget, in {plural(len(turns), 'client-round')}."
        )
    where = [f"{c.client} in round {c.round} ({len(c.mask)} > {number(c.budget)})" for c in over]
    return Check(False, f"{plural(len(over), 'mask')} of {len(turns)} over budget: {listing(where)}.")


def _clients(run: Run) -> Block:
    turns: dict[str, list[ClientRecord]] = {}
    for record in run.log.rounds:
        for client in record.clients:
            turns.setdefault(client.client, []).append(client)
    budgets = [c.budget for r in run.log.rounds for c in r.clients if isfinite(c.budget)]
    scale = max([*budgets, *(float(len(c.mask)) for own in turns.values() for c in own)], default=0.0) or 1.0
    rows = tuple(_row(name, turns[name], scale) for name in sorted(turns))
    return folded(Table("Per client; the tick is its budget", _HEAD, rows))


def _row(name: str, turns: Sequence[ClientRecord], scale: float) -> tuple[TableCell, ...]:
    layers = fmean(len(c.mask) for c in turns)
    budget = fmean(c.budget for c in turns)
    limit = budget / scale if isfinite(budget) else None
    over = any(len(c.mask) > c.budget for c in turns)
    failures = sum(c.failure is not None for c in turns)
    return (
        name,
        str(len(turns)),
        Meter(number(layers), layers / scale, limit, over),
        number(budget),
        megabytes(sum(c.bytes_up for c in turns)),
        megabytes(sum(c.bytes_down for c in turns)),
        duration(sum(c.seconds_probe for c in turns)),
        duration(sum(c.seconds_train for c in turns)),
        str(failures) if failures else "",
    )
