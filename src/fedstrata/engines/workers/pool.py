"""The worker processes of an engine: at most so many, given work, listened to, and replaced when they end."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.engines.local import failure
from fedstrata.engines.workers.arena import Arena
from fedstrata.engines.workers.process import Task, WorkerProcess
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.interpreter import receive

log = logging.getLogger(__name__)

_MOST_FAILED_STARTS = 3
_PATIENCE = 2.0  # seconds in which workers without work may end by themselves


class Pool:
    """Worker processes by place; a place is empty while its process has ended and no work waits.

    Args:
        spec: What each is told.
        arena: The weights.
        folder: Where their files lie.
        environments: Variables of each place beyond this process's own; as many as there are places.
        stall: Seconds without processor time after which a worker with work hangs.
        start_timeout: Seconds in which a worker has to be ready.

    Raises:
        TrainingError: The system starts no process.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        arena: Arena,
        folder: Path,
        environments: Sequence[Mapping[str, str]],
        stall: float,
        start_timeout: float,
    ) -> None:
        self._run_spec, self._arena, self._folder = spec, arena, folder
        self._environments, self._stall, self._start_timeout = environments, stall, start_timeout
        self._period = min(1.0, stall / 8)
        self._failed_starts = 0
        self._closed = False
        self._places: list[WorkerProcess | None] = [None] * len(environments)
        try:
            self.raise_to(len(environments))
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Number of places."""
        return len(self._places)

    @property
    def busy(self) -> int:
        """Number of workers with work."""
        return sum(worker.task is not None for _, worker in self._workers())

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that there are."""
        return tuple(worker.pid for _, worker in self._workers())

    def raise_to(self, wanted: int) -> None:
        """Start workers in empty places until so many have no work, as far as there are places.

        Raises:
            TrainingError: The system starts no process, or the pool is closed.
        """
        if self._closed:
            raise TrainingError("the engine is closed; make another")
        free = sum(worker.task is None for _, worker in self._workers())
        empty = [place for place, worker in enumerate(self._places) if worker is None]
        for place in empty[: max(wanted - free, 0)]:
            worker = WorkerProcess(
                self._run_spec,
                arena=self._arena.descriptor,
                folder=self._folder,
                environment=self._environments[place],
                stall=self._stall,
                period=self._period,
            )
            self._places[place] = worker

    def works_on(self, pool: ClientId) -> bool:
        """Return whether a worker is at work on a client of this pool, and so will know the others' sums."""
        return any(worker.task is not None and worker.pool == pool for _, worker in self._workers())

    def give(self, task: Task) -> bool:
        """Give a task to a free worker, rather to one that knows its pool; return whether there was a free one."""
        for place, worker in sorted(self._workers(), key=lambda entry: entry[1].pool != task.pool):
            if worker.ready and worker.task is None:
                try:
                    worker.give(task, self._arena.manifest)
                except OSError:
                    self._lose(place, worker)
                else:
                    return True
        return False

    def wait(self, seconds: float) -> None:
        """Wait until a worker says something or ends, at most so long, and settle the tasks that this decides.

        Raises:
            TrainingError: Workers do not start.
        """
        ended = {place for place, worker in self._workers() if worker.ended()}
        ends = [worker.pipe for _, worker in self._workers()]
        spoke = wait(ends, 0.0 if ended else min(seconds, self._period))
        for place, worker in self._workers():
            if worker.pipe in spoke:
                self._listen(place, worker)
            elif place in ended:
                self._lose(place, worker)
            elif worker.hangs():
                self._lose(place, worker, f"hung: no processor time for {self._stall:g} s")
            elif not worker.ready and monotonic() - worker.started > self._start_timeout:
                raise TrainingError(_do_not_start(worker, f"not ready after {self._start_timeout:g} s"))

    def stop(self, tasks: Container[Task]) -> None:
        """End the workers that are at work on these tasks, which stay without a reply."""
        for place, worker in self._workers():
            if worker.task is not None and worker.task in tasks:
                self._remove(place, worker)

    def close(self) -> None:
        """End all workers within seconds."""
        self._closed = True
        workers = [worker for _, worker in self._workers()]
        for worker in workers:
            worker.pipe.close()
        end = monotonic() + _PATIENCE
        for worker in workers:
            at_rest = worker.ready and worker.task is None  # others do not see that their pipe is closed
            worker.end(patience=max(end - monotonic(), 0.01) if at_rest else 0.0)
        self._places = [None] * len(self._places)

    def _workers(self) -> Iterator[tuple[int, WorkerProcess]]:
        return ((place, worker) for place, worker in enumerate(tuple(self._places)) if worker is not None)

    def _listen(self, place: int, worker: WorkerProcess) -> None:
        message = receive(worker.pipe)
        if message is None:
            self._lose(place, worker)
            return
        if "broken" in message:
            raise TrainingError(f"a worker process cannot make its handler: {message['broken']}")
        worker.hear(message)
        if worker.answered:
            self._failed_starts = 0

    def _lose(self, place: int, worker: WorkerProcess, why: str | None = None) -> None:
        """Take note that a worker has ended, or has to: its task has failed."""
        why = why or worker.how_it_ended()
        if worker.task is not None:
            worker.task.reply = failure(worker.task.request, Reason.CLIENT_ERROR, why)
        elif worker.answered:
            log.warning("a worker without work: %s", why)
        else:
            self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise TrainingError(_do_not_start(worker, f"{why}; tried {self._failed_starts} times"))
        self._remove(place, worker)

    def _remove(self, place: int, worker: WorkerProcess) -> None:
        self._places[place] = None
        worker.end()


def _do_not_start(worker: WorkerProcess, why: str) -> str:
    words = worker.last_words()
    return f"worker processes do not start: {why}" + (f"; the last one said:\n{words}" if words else "")
