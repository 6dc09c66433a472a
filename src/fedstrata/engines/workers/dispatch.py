"""One ``send`` over workers: requests go out as workers are free, replies come back in request order.

Clients that are evaluated together go to one worker, which computes their rows once; other workers meanwhile take those
that come after them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Protocol

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Layer
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline
from fedstrata.engines.local import failure
from fedstrata.engines.workers.process import Task
from fedstrata.wire.messages import Evaluate, Failure, Frame, Request, Weights


class Workers(Protocol):
    """Workers that take a task at a time: processes of this machine, or actors of a cluster."""

    @property
    def size(self) -> int:
        """Number of places."""
        ...

    @property
    def busy(self) -> int:
        """Number of workers with work."""
        ...

    def works_on(self, pool: ClientId) -> bool:
        """Return whether a worker is at work on a client of this pool, and so will know the others' sums."""
        ...

    def raise_to(self, wanted: int) -> None:
        """Start workers in empty places until so many have no work, as far as there are places."""
        ...

    def give(self, task: Task) -> bool:
        """Give a task to a free worker, rather to one that knows its pool; return whether there was a free one."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait until a worker says something or ends, at most so long, and settle the tasks that this decides."""
        ...

    def stop(self, tasks: Container[Task]) -> None:
        """End the workers that are at work on these tasks, which stay without a reply."""
        ...


class Shared(Protocol):
    """The weights that workers see."""

    def lacks(self, weights: Weights) -> tuple[Layer, ...]:
        """Return the blocks that cannot be seen before those at work are done."""
        ...

    def publish(self, weights: Weights) -> None:
        """Let workers see them."""
        ...


class Dispatch:
    """The requests of one ``send`` that are drawn and not yet answered.

    Args:
        pool: The workers.
        shared: The weights that they see.
        requests: Drawn when a worker is free, and at most ``2 * workers + 2`` beyond the oldest without a reply, and
            one pool of clients for each worker.
        deadline: When work that is not done is late.
    """

    def __init__(self, pool: Workers, shared: Shared, requests: Iterable[Request], deadline: Deadline) -> None:
        self._pool, self._shared, self._deadline = pool, shared, deadline
        self._source = iter(requests)
        self._slack = self._most = 2 * pool.size + 2
        self._window: deque[Task] = deque()
        self._waiting: deque[Task] = deque()

    def replies(self) -> Iterator[Frame | Failure]:
        """Yield one reply per request, in request order.

        However it ends, no worker goes on with what was asked here: it would answer into the next ``send``.
        """
        try:
            self._pool.wait(0.0)  # workers that ended since the last send get no work
            self._hand_out()
            while self._window:
                self._pool.wait(0.0 if self._window[0].reply else self._deadline.left())
                if self._deadline.passed():
                    self._expire()
                self._hand_out()  # before the server takes the next reply, which may keep it busy
                if (reply := self._window[0].reply) is not None:
                    self._window.popleft()
                    yield reply
                    self._hand_out()
        finally:
            self._pool.stop(self._window)

    def _hand_out(self) -> None:
        """Give waiting requests to free workers."""
        while self._draw():
            task = next((task for task in self._waiting if self._open(task)), None)
            if task is None:
                return  # whoever is at work on their pool will take the others
            if self._shared.lacks(task.request.weights):
                if self._pool.busy:
                    return  # they still read the weights that would be overwritten
                self._shared.publish(task.request.weights)
            if not self._pool.give(task):
                self._pool.raise_to(self._pieces())
                return
            self._waiting.remove(task)

    def _open(self, task: Task) -> bool:
        """Return whether any free worker may take a task: none is at work on its pool."""
        return task.pool is None or not self._pool.works_on(task.pool)

    def _pieces(self) -> int:
        """Return how many workers could take something of what waits."""
        waiting = [task.pool for task in self._waiting if self._open(task)]
        return waiting.count(None) + len({pool for pool in waiting if pool is not None})

    def _draw(self) -> bool:
        """Draw until there is something for each free worker, at least one request; return whether any waits."""
        if self._deadline.passed():
            self._draw_late()
            return False
        free = self._pool.size - self._pool.busy  # another send may have work for all of them
        while (self._pieces() < free or not self._window) and len(self._window) < self._most:
            request = next(self._source, None)
            if request is None:
                break
            task = Task(request)
            if isinstance(request, Evaluate):
                self._most = max(self._most, self._slack + self._pool.size * len(request.together))
            self._window.append(task)
            self._waiting.append(task)
        return bool(self._waiting)

    def _draw_late(self) -> None:
        request = None if self._window else next(self._source, None)
        if request is not None:
            self._window.append(Task(request, failure(request, Reason.LATE, "not started within the deadline")))

    def _expire(self) -> None:
        """End what is at work; everything without a reply is late."""
        self._pool.stop(self._window)
        for task in self._window:
            if task.reply is None:
                word = "started" if task in self._waiting else "done"
                task.reply = failure(task.request, Reason.LATE, f"not {word} within the deadline")
        self._waiting.clear()
