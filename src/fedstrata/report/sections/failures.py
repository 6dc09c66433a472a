"""Failures: what did not count, for which reason, and what was done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fedstrata.domain.formatting import NOTHING, listing, plural
from fedstrata.domain.reasons import Reason
from fedstrata.report.blocks import Block, Check, Note, Picture, Pictures, Table, Text, folded
from fedstrata.report.figures.grid import Cell, Grid, binned, counted, draw, level_of_share
from fedstrata.report.losses import BEFORE, Tally, in_order, losses_by_round, lost_clients, tally, turns_asked
from fedstrata.runs.records import Log, Run

MEANING: Mapping[str, str] = {
    Reason.LATE: "no sound answer came in time",
    Reason.DUPLICATE: "the same answer came again; the first one counts",
    Reason.CONFLICT: "another answer came for work that was already answered; the first one counts",
    Reason.STALE: "it belongs to another run, round, attempt or phase, or starts from other weights",
    Reason.SCHEMA: "it is not what was asked for, or was damaged on its way",
    Reason.NONFINITE: "it holds a value that is not finite",
    Reason.NORM: "it is larger than it may be (upload.max_norm for updates)",
    Reason.SIZE: "it is longer or shorter than the answer can be",
    Reason.AUTH: "it came in the name of a client that was not asked",
    Reason.BELOW_QUORUM: "too few clients: the layer or the attempt does not count",
    Reason.CLIENT_ERROR: "the client's own work failed, or its process ended",
    Reason.REFUSED: "the client's own limits forbid the work",
}
"""Each reason code in plain words."""

_MOST, _MOST_ROUNDS = 200, 60


def failures(run: Run) -> tuple[Block, ...]:
    """Return what did not count by reason and by round, and each client, attempt and layer with its facts."""
    log = run.log
    found = tally(log)
    if not found:
        said = "no client was lost, no message refused, no attempt abandoned"
        return (
            Check(
                True,
                f"Every answer counted ({plural(turns_asked(log), 'client-round')}: one client in one round): {said}.",
            ),
        )
    return (
        _clients(log),
        *_skipped(log),
        *_abandoned(log),
        *_layers(log),
        *_elsewhere(found),
        *((Pictures((_strip(run, losses_by_round(log)),)),) if log.rounds or log.abandoned else ()),
        _by_reason(found),
        *_by_client(log),
        *_every_attempt(log),
        *_every_layer(log),
        *_every_client(log),
    )


def _clients(log: Log) -> Check:
    lost, asked = list(lost_clients(log)), turns_asked(log)
    if not lost:
        return Check(True, f"No client was lost in {plural(asked, 'client-round')} (one client in one round).")
    clients = len({one.client for one in lost})
    said = f"{len(lost)} of {plural(asked, 'client-round')} were lost, of {plural(clients, 'client')}"
    return Check(False, said + ("." if log.abandoned else "; the rounds went on without them."))


def _skipped(log: Log) -> tuple[Check, ...]:
    if not log.skipped:
        return ()
    where = listing([str(r) for r in log.skipped])
    what, given = (f"Round {where}", "was given up") if len(log.skipped) == 1 else (f"Rounds {where}", "were given up")
    return (Check(False, f"{what} of {len(log.rounds)} {given}; the weights stayed as they were."),)


def _abandoned(log: Log) -> tuple[Note, ...]:
    if not log.abandoned:
        return ()
    done = {r.round for r in log.committed}
    rounds = {a.round for a in log.abandoned}
    saved = f"; {len(rounds & done)} of {plural(len(rounds), 'round')} succeeded in a later attempt"
    tries = f"{plural(len(log.abandoned), 'attempt')} {'was' if len(log.abandoned) == 1 else 'were'} abandoned"
    return (Note(f"{tries}, because too few clients were left{saved}."),)


def _layers(log: Log) -> tuple[Note, ...]:
    few = [(r.round, x) for r in log.rounds for x in r.layers if x.below_quorum]
    if not few:
        return ()
    rounds = len({r for r, _ in few})
    said = (
        f"{plural(len(few), 'layer')} in {plural(rounds, 'round')} kept their weights: fewer clients trained them than"
    )
    return (Note(f"{said} round.layer_quorum asks for."),)


def _elsewhere(found: Sequence[Tally]) -> tuple[Text, ...]:
    """Say of what only came beside the answers that counted that no client was lost by it."""
    rest = Counter({t.reason: t.elsewhere for t in found if t.elsewhere})
    if not rest:
        return ()
    counts = listing([f"{reason} {count}" for reason, count in rest.items()], limit=11)
    said = f"{plural(rest.total(), 'message')} besides did not count ({counts})"
    return (
        Text(f"{said}: copies, late or damaged ones, and answers to evaluations. No client was lost by them alone."),
    )


def _by_reason(found: Sequence[Tally]) -> Table:
    head = ("reason", "# clients", "# layers", "# attempts", "# elsewhere", "in words")
    rows = tuple(
        (
            t.reason,
            *(str(count) if count else "" for count in (len(t.clients), t.layers, t.attempts, t.elsewhere)),
            MEANING.get(t.reason, NOTHING),
        )
        for t in found
    )
    return Table("What did not count, by reason", head, rows)


def _by_client(log: Log) -> tuple[Block, ...]:
    found: dict[str, Counter[str]] = {}
    for lost in lost_clients(log):
        found.setdefault(lost.client, Counter())[lost.reason] += 1
    if not found:
        return ()
    worst = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
    rows = tuple(
        (client, str(reasons.total()), listing([f"{r} {n}" for r, n in reasons.most_common()], limit=11))
        for client, reasons in worst
    )
    return (folded(Table("Lost clients, the most often lost first", ("client", "# times", "reasons"), rows)),)


def _every_attempt(log: Log) -> tuple[Block, ...]:
    if not log.abandoned:
        return ()
    rows = tuple(
        (str(a.round), str(a.attempt + 1), a.phase, f"{a.answered} of {a.needed}", a.message)
        for a in log.abandoned[:_MOST]
    )
    head = ("# round", "# attempt", "phase", "# left of needed", "message")
    return (folded(Table(_titled("abandoned attempt", len(log.abandoned)), head, rows), limit=6),)


def _every_layer(log: Log) -> tuple[Block, ...]:
    found: dict[str, list[tuple[int, int]]] = {}
    for record in log.rounds:
        for layer in record.layers:
            if layer.below_quorum:
                found.setdefault(layer.name, []).append((record.round, layer.below_quorum))
    if not found:
        return ()
    rows = tuple(
        (name, str(len(where)), listing([f"{r} ({count})" for r, count in where], limit=12))
        for name, where in found.items()
    )
    return (folded(Table("Layers below quorum", ("layer", "# rounds", "round (clients that trained it)"), rows)),)


def _every_client(log: Log) -> tuple[Block, ...]:
    lost = list(lost_clients(log))
    if not lost:
        return ()
    rows = tuple((str(x.round), str(x.attempt + 1), x.client, x.reason, x.message or NOTHING) for x in lost[:_MOST])
    head = ("# round", "# attempt", "client", "reason", "message")
    return (folded(Table(_titled("lost client", len(lost)), head, rows), limit=6),)


def _titled(what: str, count: int) -> str:
    return f"Every {what}" if count <= _MOST else f"The first {_MOST} of {plural(count, what)}"


def _strip(run: Run, losses: Mapping[int, Counter[str]]) -> Picture:
    """Return how often each reason stands in each round; rounds share a column where there are too many."""
    rounds = sorted({r.round for r in run.log.rounds} | {a.round for a in run.log.abandoned})
    parts = binned(rounds, limit=_MOST_ROUNDS)
    counts = [(label, sum((losses.get(r, Counter()) for r in part), Counter())) for label, part in parts]
    reasons = in_order({reason for count in losses.values() for reason in count})
    most = max((n for _, count in counts for n in count.values()), default=1)
    cells = [
        [counted(n := count[reason], most, f"{reason}, round {label}: {n}") for label, count in counts]
        for reason in reasons
    ]
    if run.log.abandoned:
        cells.insert(0, [_attempts(run, part, label) for label, part in parts])
    rows = (["abandoned"] if run.log.abandoned else []) + reasons
    grid = Grid(
        rows, [label for label, _ in parts], cells, ("reason", "round"), "none", f"1 to {most}" if most > 1 else "1"
    )
    title = f"{run.log.header.method}: what did not count, by reason and round"
    return Picture(draw(grid, title=title, description=_summary(losses)), _caption(run, losses), wide=True)


def _attempts(run: Run, part: Sequence[int], label: str) -> Cell:
    count = sum(a.round in part for a in run.log.abandoned)
    given_up = any(r in part for r in run.log.skipped)
    ending = ", then given up" if given_up else ""
    tip = f"round {label}: {plural(count, 'attempt')} abandoned{ending}"
    return Cell(level_of_share(min(count, 1)), tip, str(count) if count else "", alarm=given_up)


def _caption(run: Run, losses: Mapping[int, Counter[str]]) -> str:
    before = losses.get(BEFORE, Counter()).total()
    parts = ["What did not count, by round: clients, layers, messages, evaluations."]
    if run.log.abandoned:
        given_up = "; an exclamation mark is a round that was given up" if run.log.skipped else ""
        parts.append(f"The top row counts abandoned attempts{given_up}.")
    if before:
        parts.append(f"What did not count before the first round ({before}) is not drawn.")
    return " ".join(parts)


def _summary(losses: Mapping[int, Counter[str]]) -> str:
    """Return the sums as text, for screen readers."""
    total = sum(losses.values(), Counter())
    return "Over all: " + ", ".join(f"{reason} {count}" for reason, count in sorted(total.items()))
