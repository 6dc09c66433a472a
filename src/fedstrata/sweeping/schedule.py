"""Runs to workers: each free worker gets the next run, until none is left or the sweep is to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fedstrata.errors import CheckpointError, TrainingError
from fedstrata.interpreter import Message
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job, Sweep
from fedstrata.sweeping.observers import SweepObserver
from fedstrata.sweeping.table import Table


class Player(Protocol):
    """Who plays a run at a time: a worker process, or a task on some node of a cluster."""

    number: int
    ready: bool

    @property
    def log(self) -> object:
        """Where a traceback would be."""
        ...

    def how_it_ended(self) -> str:
        """Return in words how it ended."""
        ...

    def last_words(self) -> str:
        """Return the last line of what it said."""
        ...


P = TypeVar("P", bound=Player)


class Players(Protocol[P]):
    """All of them."""

    @property
    def tries(self) -> int:
        """How many may end over a run, without a new round, before it counts as failed."""
        ...

    def hire(self, number: int) -> P:
        """Start the one of a place."""
        ...

    def tell(self, player: P, message: Mapping[str, Any], /) -> None:
        """Send one a message."""
        ...

    def tell_all(self, message: Mapping[str, Any]) -> None:
        """Send every one a message."""
        ...

    def hear(self) -> Iterator[tuple[P, Message | None]]:
        """Wait a moment, and yield what they say; ``None`` stands for the end of one, which is removed."""
        ...

    def dismiss(self) -> None:
        """Let them end by themselves."""
        ...


@dataclass(slots=True, eq=False)
class Schedule:
    """Which worker plays which run.

    Attributes:
        sweep: The sweep.
        table: Where outcomes go.
        pool: The workers.
        observer: Is told what happens.
        present: What the runs are made of.
        todo: Runs that nobody plays yet.
        playing: The run of each worker that has one.
        failures: Why runs have failed.
        stopping: Whether no more runs are to begin.
    """

    sweep: Sweep
    table: Table
    pool: Players[Any]
    observer: SweepObserver
    present: Present
    todo: deque[Job]
    playing: dict[int, Job] = field(default_factory=dict)
    failures: dict[Job, str] = field(default_factory=dict)
    stopping: bool = False
    left: int = 0
    _lost: dict[Job, int] = field(default_factory=dict)
    _reached: dict[Job, int] = field(default_factory=dict)

    def play(self, workers: int, stop: Callable[[], bool]) -> None:
        """Play all runs.

        Args:
            workers: How many play at the same time.
            stop: Asked often; true ends the sweep once the rounds at work are done.

        Raises:
            TrainingError: Workers cannot be started.
            StorageError: The table of results cannot be written.
        """
        alive = {self.pool.hire(number).number for number in range(min(workers, len(self.todo)))}
        while alive and (self.todo or self.playing):
            for worker, message in self.pool.hear():
                if message is not None:
                    self._heard(worker, message)
                    continue
                alive.discard(worker.number)
                self._gone(worker)
                if self.todo and not self.stopping:
                    alive.add(self.pool.hire(worker.number).number)
            if stop() and not self.stopping:
                self.stopping = True
                self.left += len(self.todo)
                self.todo.clear()
                self.pool.tell_all({"stop": True})
        self.pool.dismiss()

    def _heard(self, worker: Player, message: Message) -> None:
        job = self.playing.get(worker.number)
        if job is not None and "rounds" in message:
            self._get_on(job, message["rounds"])
            self.observer.rounds_done(worker.number, job, message["rounds"])
            return
        if job is not None:
            del self.playing[worker.number]
            self._ended(worker, job, message)
        if self.todo:
            self._give(worker, self.todo.popleft())

    def _get_on(self, job: Job, rounds: int) -> None:
        """Take note how far a run is: one that gets on may lose as many workers again."""
        if rounds > self._reached.get(job, 0):
            self._reached[job] = rounds
            self._lost.pop(job, None)

    def _give(self, worker: Player, job: Job) -> None:
        self.playing[worker.number] = job
        self.observer.run_given(worker.number, job)
        self.pool.tell(worker, task_of(job, keep_model=self.sweep.keep_models))

    def _ended(self, worker: Player, job: Job, message: Message) -> None:
        if "failed" in message:
            see = f"; the traceback is in {worker.log}" if "logged" in message else ""
            self._fail(worker, job, f"{message['failed']}{see}")
        elif message["ended"] != "finished":
            self.left += 1
            self.observer.run_left(worker.number, job, "interrupted and saved")
        else:
            self._finished(worker, job)

    def _finished(self, worker: Player, job: Job) -> None:
        moved = self.present.moved(job)
        if moved is not None:
            self._fail(worker, job, f"{moved}; the same command says which runs have to be played anew")
            return
        try:
            outcome = self.table.take(job)
        except CheckpointError as error:
            self._fail(worker, job, str(error))
            return
        if outcome is not None:
            self.table.write()
        self.observer.run_finished(worker.number, job, outcome)

    def _fail(self, worker: Player, job: Job, reason: str) -> None:
        self.failures[job] = reason
        self.observer.run_failed(worker.number, job, reason)

    def _gone(self, worker: Player) -> None:
        """A worker has ended: its run goes on with another one, unless that happened to it before."""
        how, job = worker.how_it_ended(), self.playing.pop(worker.number, None)
        if job is None:
            if not worker.ready and not self.stopping:
                raise TrainingError(f"a worker of the sweep does not start: {worker.last_words() or how}")
            return
        self._lost[job] = self._lost.get(job, 0) + 1
        if self._lost[job] < self.pool.tries and not self.stopping:
            self.observer.run_left(worker.number, job, f"{how}; another goes on with it")
            self.todo.appendleft(job)
        elif self.stopping:
            self.left += 1
            self.observer.run_left(worker.number, job, how)
        else:
            self._fail(worker, job, f"{how}, {self.pool.tries} times")


def task_of(job: Job, *, keep_model: bool) -> Mapping[str, Any]:
    """Return what a worker is told of a run; see ``fedstrata.sweeping.worker``."""
    return {
        "folder": str(job.folder),
        "config": job.config(),
        "marks": [[list(loc), place] for loc, place in job.marks.items()],
        "keep_model": keep_model,
    }
