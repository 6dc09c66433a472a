"""The workers of a sweep: processes that play one run after another."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedstrata.errors import TrainingError
from fedstrata.files import private_file
from fedstrata.interpreter import Interpreter, Message, receive, send
from fedstrata.process import END_LIMIT, in_words, last_words

WORKER = "fedstrata.sweeping.worker"
"""What a worker runs."""
_LOOK = 0.2


class Worker:
    """One worker process; it ends when this process does.

    Args:
        number: Its place among the workers, from 0.
        log: File that its standard output and error are appended to.

    Raises:
        TrainingError: The system starts no process.
    """

    def __init__(self, number: int, log: Path) -> None:
        self.number, self.log = number, log
        self.ready = False
        try:
            with private_file(log).open("ab") as words:
                self._interpreter = Interpreter(WORKER, output=words.fileno())
        except OSError as error:
            raise TrainingError(f"cannot start a worker process: {error}; try fewer workers") from error
        self.pid, self.pipe, self.end = self._interpreter.pid, self._interpreter.pipe, self._interpreter.end

    def how_it_ended(self) -> str:
        """Return in words how the process ended, after making sure that it has."""
        code = self._interpreter.code()
        see = "" if code in (-signal.SIGKILL, -signal.SIGTERM) else f"; see {self.log}"
        return f"its worker {in_words(code)}{see}"

    def last_words(self) -> str:
        """Return the last line of what it wrote."""
        return last_words(self.log).rpartition("\n")[2]


class Pool:
    """All workers; leaving the ``with`` block ends them.

    Args:
        folder: Where their logs lie; exists.

    Example:
        See ``tests/sweeping/test_sweep_run.py``.
    """

    tries = 2
    """How many workers may end over a run, without a new round, before it counts as failed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: dict[int, Worker] = {}
        self._patience = 0.0

    def hire(self, number: int) -> Worker:
        """Start the worker of a place.

        Raises:
            TrainingError: The system starts no process.
        """
        worker = Worker(number, self._folder / f"worker-{number + 1}.log")
        self._workers[number] = worker
        return worker

    def tell(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """Send a worker a message; one that is gone is heard of soon."""
        with suppress(OSError):
            send(worker.pipe, message)

    def tell_all(self, message: Mapping[str, Any]) -> None:
        """Send every worker a message."""
        for worker in self._workers.values():
            self.tell(worker, message)

    def hear(self) -> Iterator[tuple[Worker, Message | None]]:
        """Wait a moment, and yield the messages of workers; ``None`` stands for the end of one, which is removed."""
        spoke = wait([worker.pipe for worker in self._workers.values()], _LOOK)
        for worker in [worker for worker in self._workers.values() if worker.pipe in spoke]:
            message = receive(worker.pipe)
            if message is not None:
                worker.ready = worker.ready or "ready" in message
                yield worker, message
                continue
            del self._workers[worker.number]
            try:
                yield worker, None
            finally:
                worker.end(patience=0.1)

    def dismiss(self) -> None:
        """Let workers end by themselves when the block is left, since none has work."""
        self._patience = END_LIMIT

    def __enter__(self) -> Self:
        """No worker is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all workers, at once unless they were dismissed."""
        for worker in self._workers.values():
            worker.pipe.close()
        for worker in self._workers.values():
            worker.end(patience=self._patience)
        self._workers.clear()
