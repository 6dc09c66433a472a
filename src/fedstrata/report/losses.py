"""What did not count in a run: how often each reason stands, in which round, and what it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedstrata.domain.reasons import Reason
from fedstrata.runs.records import Log

BEFORE = 0
"""The evaluation before the first round."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A client whose answer did not count in one attempt at a round; abandoned attempts keep no message."""

    round: int
    attempt: int
    client: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one reason stands for.

    Attributes:
        clients: Names of the clients that were lost, once per attempt.
        layers: Layers that kept their bits because too few clients trained them.
        attempts: Attempts at a round that were abandoned.
        elsewhere: Messages beside the answer that counted, and clients that an evaluation went on without.
    """

    reason: str
    clients: tuple[str, ...]
    layers: int
    attempts: int
    elsewhere: int


def lost_clients(log: Log) -> Iterator[Lost]:
    """Yield every client that was lost, by round and attempt."""
    tries = [Lost(a.round, a.attempt, c, reason) for a in log.abandoned for c, reason in sorted(a.failures.items())]
    rounds = [
        Lost(r.round, r.attempt, c.client, c.failure, c.failure_message or "")
        for r in log.rounds
        for c in r.clients
        if c.failure is not None
    ]
    return iter(sorted([*tries, *rounds], key=lambda lost: (lost.round, lost.attempt, lost.client)))


def turns_asked(log: Log) -> int:
    """Return how often a client was asked to take part in an attempt at a round."""
    return sum(len(r.clients) for r in log.rounds) + sum(a.answered + len(a.failures) for a in log.abandoned)


def losses_by_round(log: Log) -> dict[int, Counter[str]]:
    """Return by round, ``BEFORE`` included, how often each reason stands, in all attempts and the evaluation."""
    found: dict[int, Counter[str]] = {BEFORE: Counter(log.baseline_losses)}
    for facts in log.abandoned:
        found.setdefault(facts.round, Counter()).update(facts.losses)
    for record in log.rounds:
        found.setdefault(record.round, Counter()).update(record.losses)
    return found


def tally(log: Log) -> tuple[Tally, ...]:
    """Return what each reason stands for, in the order of the code; reasons that do not occur are left out."""
    total: Counter[str] = Counter()
    for losses in losses_by_round(log).values():
        total.update(losses)
    names: dict[str, list[str]] = {}
    for lost in lost_clients(log):
        names.setdefault(lost.reason, []).append(lost.client)
    layers = sum(layer.below_quorum > 0 for record in log.rounds for layer in record.layers)
    few = {Reason.BELOW_QUORUM.value: (layers, len(log.abandoned))}
    return tuple(_of(reason, total, names, few) for reason in in_order({*total, *names}))


def _of(
    reason: str, total: Mapping[str, int], names: Mapping[str, list[str]], few: Mapping[str, tuple[int, int]]
) -> Tally:
    clients, (layers, attempts) = tuple(names.get(reason, ())), few.get(reason, (0, 0))
    rest = max(total.get(reason, 0) - len(clients) - layers - attempts, 0)
    return Tally(reason, clients, layers, attempts, rest)


def in_order(reasons: set[str]) -> list[str]:
    """Return reasons in the order of the codes, then those of other versions by name."""
    known = [reason.value for reason in Reason]
    return [*(r for r in known if r in reasons), *sorted(reasons - set(known))]
