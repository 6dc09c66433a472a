"""The actors of an engine: a fixed number of seats, each with one actor on some node, replaced when it ends.

What an actor was asked when its node died is asked again on another; a client whose work ended three actors has failed.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray

from fedstrata.blame import told
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.reasons import Reason
from fedstrata.engines.local import failure
from fedstrata.engines.ray.actor import ClientActor, versions
from fedstrata.engines.ray.blocks import Published
from fedstrata.engines.ray.cluster import Need
from fedstrata.engines.workers.process import Task
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.wire.messages import Frame
from fedstrata.wire.requests import to_json

log = logging.getLogger(__name__)

MOST_ENDED = 3
"""How many actors may end over one request, or in a row before they are ready."""
_LOOK = 1.0  # seconds of one wait, so that signals and limits are seen


@dataclass(slots=True, eq=False)
class Seat:
    """A place for an actor.

    Attributes:
        actor: Who sits there.
        awaited: Ray's reference to what it says next: that it is ready, or an answer.
        node: Where it is, in words, once it is ready.
        task: What it works on.
        pool: Of the task that it was given last: the first of the clients that are evaluated together.
        holds: Content hash of each block that it was handed.
        failed_starts: How many actors in a row ended here before they were ready.
        proven: Whether an actor was ready here: from then on, a node that is of no use ends nothing.
    """

    actor: Any = None
    awaited: Any = None
    node: str = ""
    task: Task | None = None
    pool: ClientId | None = None
    holds: dict[LayerName, str] = field(default_factory=dict)
    failed_starts: int = 0
    proven: bool = False

    @property
    def free(self) -> bool:
        """Whether its actor is ready and has no work."""
        return bool(self.node) and self.task is None


class Seats:
    """All seats; their actors start at once, as the cluster has room.

    Args:
        spec: What an actor is told.
        published: The weights.
        count: How many seats, 1 or more.
        need: What each reserves on its node.
        start_timeout: Seconds for which there may be no actor that is ready.
    """

    def __init__(self, spec: WorkerSpec, published: Published, *, count: int, need: Need, start_timeout: float) -> None:
        self._published, self._start_timeout = published, start_timeout
        self._need, self._spec = need, ray.put(spec.to_bytes())
        self._class = ray.remote(ClientActor).options(**need.options(), scheduling_strategy="SPREAD")
        self._waits_since = monotonic()
        self._again: deque[Task] = deque()
        self._ended: dict[Task, int] = {}
        self._seats = [Seat() for _ in range(count)]
        for seat in self._seats:
            self._fill(seat)

    @property
    def size(self) -> int:
        """Number of seats."""
        return len(self._seats)

    @property
    def busy(self) -> int:
        """Number of seats with work, or with work to come that an ended actor has left."""
        return min(sum(seat.task is not None for seat in self._seats) + len(self._again), self.size)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Where the actors that are ready are, in words."""
        return tuple(seat.node for seat in self._seats if seat.node)

    def raise_to(self, wanted: int) -> None:
        """Every seat has its actor already, or waits for room."""

    def works_on(self, pool: ClientId) -> bool:
        """Return whether an actor is at work on a client of this pool, and so will know the others' sums."""
        return any(seat.task is not None and seat.pool == pool for seat in self._seats)

    def give(self, task: Task) -> bool:
        """Give a task to a free actor, rather to one that knows its pool; return whether there was a free one."""
        free = [seat for seat in self._seats if seat.free]
        seat = next((seat for seat in free if seat.pool == task.pool), free[0] if free else None)
        if seat is None or (self._again and task is not self._again[0]):
            return False
        request = task.request
        manifest = self._published.manifest(request.weights)
        lacked = [name for name, digest in manifest.items() if seat.holds.get(name) != digest]
        objects = self._published.objects(lacked, manifest, request.weights)
        seat.awaited = seat.actor.work.remote(json.dumps(to_json(request)).encode(), objects)
        seat.task, seat.pool, seat.holds = task, task.pool, manifest
        return True

    def wait(self, seconds: float) -> None:
        """Wait until an actor says something or ends, at most so long, and settle what this decides.

        Raises:
            TrainingError: A node cannot do the work when the run begins, or no actor is ready for too long.
        """
        awaited = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
        done, _ = ray.wait(list(awaited), timeout=min(seconds, _LOOK)) if awaited else ((), ())
        for reference in done:
            self._settle(awaited[reference])
        while self._again and self.give(self._again[0]):
            self._again.popleft()
        self._check_ready()

    def stop(self, tasks: Container[Task]) -> None:
        """End the actors that are at work on these tasks, which stay without a reply."""
        self._again = deque(task for task in self._again if task not in tasks)
        self._ended = {task: count for task, count in self._ended.items() if task not in tasks}
        for seat in self._seats:
            if seat.task is not None and seat.task in tasks:
                self._fill(seat)

    def close(self) -> None:
        """End all actors."""
        for seat in self._seats:
            _end(seat.actor)
        self._seats = []

    def _fill(self, seat: Seat) -> None:
        """Put a new actor in a seat; the one before is ended, and what it worked on is forgotten."""
        _end(seat.actor)
        seat.actor = self._class.remote(self._spec)
        seat.awaited = seat.actor.prepare.remote(json.dumps(versions()).encode())
        seat.node, seat.task, seat.holds = "", None, {}

    def _settle(self, seat: Seat) -> None:
        """Take what an actor says, or that it has ended."""
        reference, seat.awaited = seat.awaited, None
        try:
            said = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._lose(seat, _words(error))
            return
        if seat.task is None:
            self._greet(seat, json.loads(said))
            return
        task, seat.task = seat.task, None
        task.reply = Frame(task.request.client, said)
        self._ended.pop(task, None)

    def _greet(self, seat: Seat, said: dict[str, str]) -> None:
        """Take note that an actor is ready, or cannot be on its node."""
        if "broken" not in said:
            seat.node, seat.failed_starts, seat.proven = said["node"], 0, True
            return
        why = f"node {said['node']} of the Ray cluster cannot take part: {said['broken']}"
        if not seat.proven:
            raise TrainingError(why)
        self._retire(seat, why)

    def _lose(self, seat: Seat, why: str) -> None:
        """An actor has ended: its task goes to another, unless that happened too often, and another takes its seat."""
        if seat.task is None:
            seat.failed_starts += 1
        else:
            self._ask_again(seat.task, seat.node, why)
        if seat.failed_starts >= MOST_ENDED:
            self._retire(seat, f"actors of the Ray cluster do not start: {why}; tried {MOST_ENDED} times")
        else:
            self._fill(seat)

    def _ask_again(self, task: Task, node: str, why: str) -> None:
        ended = self._ended.pop(task, 0) + 1
        log.warning("an actor on node %s has ended at work for client %s: %s", node, task.request.client, why)
        if ended < MOST_ENDED:
            self._ended[task] = ended
            self._again.append(task)
        else:
            message = f"its work ended {ended} actors, the last one on node {node}: {why}"
            task.reply = failure(task.request, Reason.CLIENT_ERROR, message)

    def _retire(self, seat: Seat, why: str) -> None:
        """Do without a seat, as long as there are others."""
        _end(seat.actor)
        self._seats.remove(seat)
        if not self._seats:
            raise TrainingError(why)
        log.warning("%s; %d actors go on", why, len(self._seats))

    def _check_ready(self) -> None:
        if any(seat.node for seat in self._seats):
            self._waits_since = monotonic()
        elif monotonic() - self._waits_since > self._start_timeout:
            raise TrainingError(
                f"no actor is ready after {self._start_timeout:g} s: the Ray cluster has no node with {self._need} free"
                " (see: ray status), or model and rows take longer to load"
            )


def _end(actor: Any) -> None:  # noqa: ANN401  Ray's handle
    if actor is not None:
        with suppress(ray.exceptions.RayError):
            ray.kill(actor, no_restart=True)


def _words(error: Exception) -> str:
    """Return Ray's error in a line: what our code raised there, or the first that Ray says of an end."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return told(error.cause)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
