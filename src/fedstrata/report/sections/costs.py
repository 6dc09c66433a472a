"""Costs: bytes, time and memory of the run, and what each client gave against its budget."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from fedstrata.domain.formatting import NOTHING, duration, megabytes, number, plural, quantity
from fedstrata.domain.records import ClientRecord
from fedstrata.report.blocks import Block, Note, Table, TableCell, folded
from fedstrata.report.sections.budgets import budget_shown, budgets, tightest
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import largest_peak, predicted_flops, turns

_HEAD = (
    "client",
    "# rounds",
    "# layers per round",
    "# budget",
    "# most of a limit",
    "# MB up",
    "# MB down",
    "# peak",
    "# probing",
    "# training",
    "# failures",
)


def costs(run: Run) -> tuple[Block, ...]:
    """Return totals, whether every budget was kept, and a row per client."""
    if not run.log.committed:
        return (Table("Totals", ("", "#"), (("Rounds", "0"),)),)
    return (_totals(run), *_in_vain(run), *budgets(run), _clients(run))


def _in_vain(run: Run) -> tuple[Note, ...]:
    """Say how much of the sums went into attempts that did not count."""
    tries = run.log.abandoned
    if not tries:
        return ()
    up, seconds = sum(a.bytes_up for a in tries), sum(a.seconds for a in tries)
    attempts = plural(len(tries), "abandoned attempt")
    return (Note(f"Of these sums, {megabytes(up)} MB up and {duration(seconds)} went into {attempts}."),)


def _totals(run: Run) -> Table:
    rounds = run.log.committed
    clients, largest = list(turns(run)), largest_peak(run)
    spent = run.log.spent
    up, down = sum(r.bytes_up for r in spent), sum(r.bytes_down for r in spent)
    seconds = sum(r.seconds for r in spent)
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
        ("Compute of all clients, predicted", _compute(run)),
        ("Largest peak memory of a client, measured", NOTHING if largest is None else quantity("bytes_peak", largest)),
        ("Peak memory of the process", quantity("bytes_peak", peak) if peak else NOTHING),
        ("Clients per round, on average", number(fmean(len(r.clients) for r in rounds))),
    )
    return Table("Totals (1 MB = 1,000,000 bytes)", ("", "#"), rows)


def _compute(run: Run) -> str:
    total = predicted_flops(run)
    if total is None:
        return f"{NOTHING} (the run's cost model does not price it)"
    clients = list(turns(run))
    priced = sum("flops" in c.predicted for c in clients)
    text = f"{quantity('flops', total)} ({quantity('flops', total / len(run.log.committed))} per round)"
    return text if priced == len(clients) else f"{text}, of {priced:,} of {plural(len(clients), 'client-round')}"


def _clients(run: Run) -> Block:
    own: dict[str, list[ClientRecord]] = {}
    for client in turns(run):
        own.setdefault(client.client, []).append(client)
    rows = tuple(_row(name, own[name]) for name in sorted(own))
    return folded(
        Table(
            "Per client; the bar is the largest share of one of its limits that a mask was predicted to need",
            _HEAD,
            rows,
        )
    )


def _row(name: str, own: Sequence[ClientRecord]) -> tuple[TableCell, ...]:
    failures = sum(c.failure is not None for c in own)
    peak = max((c.peak_bytes for c in own if c.peak_bytes is not None), default=None)
    return (
        name,
        str(len(own)),
        number(fmean(len(c.mask) for c in own)),
        budget_shown(own),
        tightest(own),
        megabytes(sum(c.bytes_up for c in own)),
        megabytes(sum(c.bytes_down for c in own)),
        NOTHING if peak is None else quantity("bytes_peak", peak),
        duration(sum(c.seconds_probe for c in own)),
        duration(sum(c.seconds_train for c in own)),
        str(failures) if failures else "",
    )
