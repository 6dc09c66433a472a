"""The embedded engine: clients execute here, one after the other, on one resident model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fedstrata.blame import told
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.protocol import ClientHandler
from fedstrata.errors import ClientError
from fedstrata.wire.encodings import as_received
from fedstrata.wire.messages import Failure, Reply, Request, Train, Update, phase_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Handles each request as it is drawn, so only one reply exists at a time.

    Attributes:
        handler: The clients' side.
        clock: The clock of deadlines.
    """

    handler: ClientHandler
    clock: Clock = MONOTONIC

    @property
    def repeatable(self) -> bool:
        """Clients compute the same again from the same seeds."""
        return True

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply]:
        """Yield one reply per request, in order; what a client raises becomes a ``Failure``.

        A client at work is not interrupted: one that is not started by the deadline is late.
        """
        for request in requests:
            if deadline is not None and deadline.passed():
                yield failure(request, Reason.LATE, "not started within the deadline")
                continue
            yield received(request, answer(self.handler, request))

    def close(self) -> None:
        """Nothing is held."""


def answer(handler: ClientHandler, request: Request) -> Reply:
    """Return what a client answers; what it raises becomes a ``Failure``."""
    try:
        return handler.handle(request)
    except ClientError as error:
        return failure(request, error.reason, str(error))
    except Exception as error:
        log.exception("client %s failed", request.client)
        return failure(request, Reason.CLIENT_ERROR, told(error))


def received(request: Request, reply: Reply) -> Reply:
    """Return a reply as the server reads it: deltas as they come out of the encoding that the request names."""
    if isinstance(request, Train) and isinstance(reply, Update):
        return replace(reply, deltas=as_received(reply.deltas, request.plan.encoding))
    return reply


def failure(request: Request, reason: str, message: str) -> Failure:
    """Return the failure of a request; a reason that is none of ours is said in the message."""
    if reason not in tuple(Reason):
        reason, message = Reason.CLIENT_ERROR, f"{reason}: {message}"
    return Failure(request.client, request.round, phase_of(request), Reason(reason), message, request.origin)
