"""The embedded engine: clients execute here, one after the other, on one resident model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

from fedstrata.domain.messages import Evaluate, Failure, Probe, Reply, Request, Train
from fedstrata.engines.protocol import ClientHandler
from fedstrata.errors import ClientError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Handles each request as it is drawn, so only one reply exists at a time.

    Attributes:
        handler: The clients' side.
    """

    handler: ClientHandler

    def send(self, requests: Iterable[Request], *, deadline: float | None = None) -> Iterator[Reply]:
        """Yield one reply per request, in order; what a client raises becomes a ``Failure``."""
        start = monotonic()
        for request in requests:
            if deadline is not None and monotonic() - start > deadline:
                yield failure(request, "LATE", f"not started within the deadline of {deadline:g} s")
                continue
            yield self._answer(request)

    def _answer(self, request: Request) -> Reply:
        try:
            return self.handler.handle(request)
        except ClientError as error:
            return failure(request, error.reason, str(error))
        except Exception as error:
            log.exception("client %s failed", request.client)
            return failure(request, "CLIENT_ERROR", f"{type(error).__name__}: {error}")


def failure(request: Request, reason: str, message: str) -> Failure:
    """Return the failure of a request, with its phase."""
    match request:
        case Probe():
            return Failure(request.client, request.round, "probe", reason, message)
        case Train():
            return Failure(request.client, request.round, "train", reason, message)
        case Evaluate():
            return Failure(request.client, request.round, "evaluate", reason, message)
