"""What went over the wire, exchange by exchange, and how long it took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import time

from fedstrata.domain.ids import ClientId, LayerName


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message to a site and its answer.

    Attributes:
        client: The site.
        phase: ``join``, ``probe``, ``train`` or ``evaluate``.
        round: Its number, from 1; 0 before the first, and of the evaluation of the starting point.
        layers_down: Blocks that were sent to it.
        bytes_down: Their bytes.
        bytes_up: Bytes of its answer's blobs.
        seconds: From the sending to the answer.
        seconds_work: What the client itself says that its work took; 0 where it says nothing.
        outcome: ``ok``, or one sentence.
        at: When it ended, in seconds since 1970.
    """

    client: ClientId
    phase: str
    round: int
    layers_down: tuple[LayerName, ...]
    bytes_down: int
    bytes_up: int
    seconds: float
    seconds_work: float = 0.0
    outcome: str = "ok"
    at: float = field(default_factory=time)


Note = Callable[[Exchange], None]
"""Is told of each exchange as it ends."""


@dataclass(slots=True)
class Tally:
    """Keeps exchanges in memory: for tests and short runs.

    Example:
        >>> tally = Tally()
        >>> tally(Exchange(ClientId("a"), "probe", 1, (), 10, 20, 0.5))
        >>> tally.bytes_down, tally.bytes_up
        (10, 20)
    """

    exchanges: list[Exchange] = field(default_factory=list)

    def __call__(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self.exchanges.append(exchange)

    @property
    def bytes_down(self) -> int:
        """Bytes that were sent to sites."""
        return sum(e.bytes_down for e in self.exchanges)

    @property
    def bytes_up(self) -> int:
        """Bytes that sites sent."""
        return sum(e.bytes_up for e in self.exchanges)
