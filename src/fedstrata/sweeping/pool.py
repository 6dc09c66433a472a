"""The workers of a sweep: processes that play one run after another."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedstrata.engines.workers.pipe import Message, Pipe
from fedstrata.errors import TrainingError
from fedstrata.files import private_file

WORKER = ("-m", "fedstrata.sweeping.start")
"""What the interpreter of a worker runs."""

_END_LIMIT = 60.0
_LOOK = 0.2
_MOST_SAID = 4096


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
        here, there = socket.socketpair()
        self.pipe = Pipe(here)
        try:
            with private_file(log).open("ab") as words:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", *WORKER, str(there.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=words,
                    stderr=words,
                    pass_fds=[there.fileno()],
                    process_group=0,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)},
                )
        except OSError as error:
            self.pipe.close()
            raise TrainingError(f"cannot start a worker process: {error}; try fewer workers") from error
        finally:
            there.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def how_it_ended(self) -> str:
        """Return in words how the process ended, after making sure that it has."""
        try:
            code = self._process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            return f"its worker closed its pipe; see {self.log}"
        if code >= 0:
            return f"its worker exited with code {code}; see {self.log}"
        name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        maybe = ", perhaps out of memory" if name == "SIGKILL" else ""
        return f"its worker was killed ({name}){maybe}"

    def last_words(self) -> str:
        """Return the last line of what it wrote."""
        with suppress(OSError):
            return self.log.read_bytes()[-_MOST_SAID:].decode(errors="replace").strip().rpartition("\n")[2]
        return ""

    def end(self, patience: float) -> None:
        """Close its pipe, and end it if it does not end by itself; what it has saved stays.

        Args:
            patience: Seconds that it gets.
        """
        self.pipe.close()
        if not self._gone(patience):
            self._process.kill()
            self._gone(_END_LIMIT)
        with suppress(ProcessLookupError, PermissionError):  # processes that its runs started and left behind
            os.killpg(self.pid, signal.SIGKILL)

    def _gone(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Pool:
    """All workers; leaving the ``with`` block ends them.

    Args:
        folder: Where their logs lie; exists.

    Example:
        See ``tests/sweeping/test_sweep_crew.py``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, Worker] = {}
        self._patience = 0.0

    def hire(self, number: int) -> Worker:
        """Start the worker of a place.

        Raises:
            TrainingError: The system starts no process.
        """
        worker = Worker(number, self._folder / f"worker-{number + 1}.log")
        self._workers[number] = worker
        self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        return worker

    def tell(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """Send a worker a message; one that is gone is heard of soon."""
        with suppress(OSError):
            worker.pipe.send(message)

    def tell_all(self, message: Mapping[str, Any]) -> None:
        """Send every worker a message."""
        for worker in self._workers.values():
            self.tell(worker, message)

    def hear(self) -> Iterator[tuple[Worker, Message | None]]:
        """Wait a moment, and yield what workers said; ``None`` stands for the end of one, which then is let go."""
        for key, _ in self._selector.select(_LOOK):
            worker: Worker = key.data
            there = worker.pipe.fill()
            while (message := worker.pipe.taken()) is not None:
                worker.ready = worker.ready or "ready" in message
                yield worker, message
            if not there:
                self._selector.unregister(worker.pipe)
                del self._workers[worker.number]
                try:
                    yield worker, None
                finally:
                    worker.end(0.1)

    def dismiss(self) -> None:
        """Let workers end by themselves when the block is left, since none has work."""
        self._patience = _END_LIMIT

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
            worker.end(self._patience)
        self._workers.clear()
        self._selector.close()
