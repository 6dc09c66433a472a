"""What an engine is: the place where clients execute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from fedstrata.domain.messages import Reply, Request


class ClientHandler(Protocol):
    """The client's side of every request, the same under every engine."""

    def handle(self, request: Request) -> Reply:
        """Do what is asked, or raise; the engine turns an exception into a ``Failure``."""
        ...


class Engine(Protocol):
    """Carries requests to clients and their replies back."""

    def send(self, requests: Iterable[Request], *, deadline: float | None = None) -> Iterator[Reply]:
        """Yield one reply per request, in request order; a client's failure is a value.

        Args:
            requests: Consumed lazily, so that an engine never holds more than it works on.
            deadline: Seconds from now after which unanswered requests become ``Failure`` values.
        """
        ...
