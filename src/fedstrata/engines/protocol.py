"""What an engine is: the place where clients execute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from fedstrata.engines.clock import Clock, Deadline
from fedstrata.wire.messages import Frame, Reply, Request


class ClientHandler(Protocol):
    """The client's side of every request, the same under every engine."""

    def handle(self, request: Request) -> Reply:
        """Do what is asked, or raise; the engine turns an exception into a ``Failure``."""
        ...


class Engine(Protocol):
    """Carries requests to clients and their replies back.

    A good engine yields one reply per request, in request order; ``tests/contracts`` holds ours to it. The server
    relies on less: replies may be missing, late, doubled, damaged or out of order, and the round ends all the same.
    """

    @property
    def clock(self) -> Clock:
        """The clock that deadlines are told on."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether a request that is sent again gets the same answer to the bit, so that answers need not be kept."""
        ...

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        """Yield replies, decoded or as frames, until every request has one or the deadline has passed.

        Args:
            requests: Consumed lazily, so that an engine never holds more than it works on.
            deadline: When to stop waiting; an unanswered request may then become a ``Failure`` or nothing at all.
        """
        ...

    def close(self) -> None:
        """Release processes, files and memory; nothing can be sent afterwards."""
        ...
