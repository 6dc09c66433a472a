"""Engines of worker processes with toy clients, and their replies as the server reads them."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.engines.clock import Deadline
from fedstrata.engines.processes import ProcessEngine
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import (
    Evaluate,
    Evaluated,
    Failure,
    Frame,
    Probe,
    Reject,
    Reply,
    Request,
    Train,
    Weights,
    phase_of,
)
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.sizes import Encoding
from toys import toy_model
from waiting import HANG, until
from warm import warm_workers

MODEL = toy_model(dropout=0.2)
LAYERS, WEIGHTS = MODEL.layers, MODEL.weights()


@contextmanager
def workers(
    count: int = 2, *, recipe: str = "toy", stall: float = 10.0, start_timeout: float = HANG, fresh: bool = False
) -> Iterator[ProcessEngine]:
    """Have an engine of toy workers, and close it.

    Args:
        count: How many.
        recipe: What they are.
        stall: Seconds without processor time after which one counts as hung.
        start_timeout: Seconds in which they have to be ready.
        fresh: Whether they are fresh interpreters, and not forks of one that has imported what takes seconds.
    """
    with warm_workers(fresh=fresh):
        made = ProcessEngine(
            LAYERS,
            WEIGHTS,
            Recipe(f"worker_recipes:{recipe}"),
            workers=count,
            stall=stall,
            start_timeout=start_timeout,
        )
        with closing(made):
            yield made


def asked(*clients: str, weights: Weights = WEIGHTS) -> list[Request]:
    """Return one evaluation per client."""
    return [Evaluate(ClientId(c), 0, weights) for c in clients]


def play(engine: ProcessEngine, requests: Iterable[Request], *, seconds: float = HANG) -> list[Reply | Reject]:
    """Send requests and read the replies."""
    sent = list(requests)
    deadline = Deadline.after(seconds, engine.clock)
    replies = list(engine.send(sent, deadline=deadline))
    assert len(replies) == len(sent)
    return [read(request, reply) for request, reply in zip(sent, replies, strict=True)]


def have_ready(engine: ProcessEngine, count: int = 2) -> None:
    """Send until so many workers answer at a time."""
    until(lambda: len({told(r) for r in play(engine, asked(*["process"] * count))}) == count, why="ready workers")


def read(request: Request, reply: Frame | Failure) -> Reply | Reject:
    """Return a reply as the server reads it."""
    assert reply.client == request.client
    return reply if isinstance(reply, Failure) else decode(reply.data, assignment(request, LAYERS))


def assignment(request: Request, layers: LayerMap) -> Assignment:
    """Return what a request asks for."""
    facts = request.client, request.round, phase_of(request), request.origin
    match request:
        case Probe():
            sketch = request.plan.sketch.dimension if request.plan.sketch else 0
            return Assignment(*facts, blocks=layers.layers, statistics=request.plan.statistics, sketch=sketch)
        case Train():
            asked = Assignment(*facts, request.mask, layers.blocks(request.mask), Encoding(request.plan.encoding))
            if request.probe is None:
                return asked
            probe = Probe(request.client, request.round, request.weights, request.probe, request.origin)
            return replace(asked, piggybacked=assignment(probe, layers))
        case Evaluate():
            return Assignment(*facts)


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, and leave it to its parent to reap it."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(HANG * 1000), f"process {pid} goes on"
    finally:
        os.close(descriptor)


def told(reply: Reply | Reject) -> int:
    """Return the number that a mood answers with."""
    assert isinstance(reply, Evaluated)
    return reply.correct


def failed(reply: Reply | Reject) -> tuple[str, str]:
    """Return reason and message of a failure."""
    assert isinstance(reply, Failure)
    return str(reply.reason), reply.message
