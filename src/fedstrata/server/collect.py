"""Collecting one phase: what the journal knows first, then the engine's messages until each client has its outcome."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from fedstrata.domain.ids import ClientId
from fedstrata.engines.clock import Deadline
from fedstrata.engines.protocol import Engine
from fedstrata.runs.journal import Journal
from fedstrata.server.replies import Accepted, Loss, Replies
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Request


def collect(
    asked: Sequence[Assignment],
    request: Callable[[Assignment], Request],
    *,
    engine: Engine,
    seconds: float | None,
    journal: Journal,
    population: Container[ClientId],
    lost: Loss,
    done: Callable[[ClientId, int], None],
) -> Iterator[Accepted]:
    """Yield the answers that count, in the order of ``asked``; every other client is lost with a reason.

    Args:
        asked: What is asked of whom.
        request: Makes the message that asks it; called when it is sent.
        engine: Where the clients execute.
        seconds: How long the phase may take; ``None`` waits.
        journal: Remembers the outcomes.
        population: Every client of the run.
        lost: Is told of every loss.
        done: Is told of each client that has its outcome, and how many have.
    """
    deadline = Deadline.after(seconds, engine.clock)
    replies = Replies(asked, journal=journal, deadline=deadline, population=population, lost=lost)
    replies.recall()
    yield from replies.ready()
    by_client = {a.client: a for a in asked}
    waiting = replies.open()
    told = replies.settled
    if waiting:
        for message in engine.send((request(by_client[c]) for c in waiting), deadline=deadline):
            replies.receive(message)
            if replies.settled > told:
                told = replies.settled
                done(message.client, told)
            yield from replies.ready()
    replies.close()
    yield from replies.ready()
