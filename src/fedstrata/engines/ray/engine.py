"""The engine over a Ray cluster: clients execute on the cores and GPUs of many machines, to the bits of one process.

Ray does the clustering: it finds room, moves weights and notices that a node died. A request is JSON and its reply a
frame, as with worker processes (``engines/processes.py``), whose order of work is kept too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fedstrata.domain.layers import LayerMap
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.ray.blocks import Published
from fedstrata.engines.ray.cluster import Connection, Need, room
from fedstrata.engines.ray.seats import Seats
from fedstrata.engines.workers.dispatch import Dispatch
from fedstrata.engines.workers.layout import Layout
from fedstrata.engines.workers.worker_spec import Recipe, WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.wire.messages import Failure, Frame, Request, Weights


class RayEngine:
    """Has clients execute in actors of a cluster, which start at once and are replaced when they end.

    Args:
        connection: The cluster; left when the engine is closed.
        layers: All blocks; the trainable ones travel.
        weights: Weights of the run, for types; nothing is kept of them.
        recipe: How an actor makes its handler.
        need: What each actor reserves on its node.
        actors: How many; ``None`` is as many as there is room for.
        most: More of them than this would have nothing to do.
        device: Where clients compute.
        clock: The clock of deadlines.
        start_timeout: Seconds for which there may be no actor that is ready.

    Raises:
        ConfigError: No node has room for an actor.

    Example:
        ``tests/engines/ray/test_seats.py`` makes one on two nodes of one machine.
    """

    def __init__(
        self,
        connection: Connection,
        layers: LayerMap,
        weights: Weights,
        recipe: Recipe,
        *,
        need: Need,
        actors: int | None = None,
        most: int | None = None,
        device: str = "cpu",
        clock: Clock = MONOTONIC,
        start_timeout: float = 600.0,
    ) -> None:
        layout = Layout.of(layers, weights)
        self._connection, self._clock, self._closed = connection, clock, False
        count = actors or min(room(need), most or room(need))
        self._published = Published(layout)
        self._seats = Seats(
            WorkerSpec(layout, recipe, device), self._published, count=count, need=need, start_timeout=start_timeout
        )

    @property
    def clock(self) -> Clock:
        """The clock of deadlines."""
        return self._clock

    @property
    def repeatable(self) -> bool:
        """Clients compute the same again from the same seeds, on whichever node of one kind."""
        return True

    @property
    def bytes_put(self) -> int:
        """Bytes of weights that were ever handed to the cluster."""
        return self._published.bytes_put

    @property
    def nodes(self) -> tuple[str, ...]:
        """Where the actors that are ready are, in words; one entry per actor."""
        return self._seats.nodes

    def ready(self, seconds: float) -> int:
        """Wait at most so long for an actor to get ready, and return how many are; ``send`` waits by itself.

        Raises:
            TrainingError: As ``send``.
        """
        self._seats.wait(seconds)
        return len(self.nodes)

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Frame | Failure]:
        """Yield one reply per request, in order: a frame of what the client said, or why there is none.

        Clients at work at the deadline are ended. Closing the iterator early ends them too.

        Raises:
            TrainingError: Actors do not start, a node lacks what the run needs, or the engine is closed.
        """
        if self._closed:
            raise TrainingError("the engine is closed; make another")
        return Dispatch(self._seats, self._published, requests, deadline or Deadline(clock=self._clock)).replies()

    def close(self) -> None:
        """End the actors and leave the cluster."""
        if not self._closed:
            self._closed = True
            self._seats.close()
            self._connection.close()
