"""One worker process, seen from the server: started, given work, watched, ended and reaped."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from fedstrata.domain.versions import Manifest
from fedstrata.engines.workers.pipe import Message, Pipe
from fedstrata.engines.workers.shared import SharedFile, read_at, write_at
from fedstrata.engines.workers.watchdog import Watchdog, glimpse
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.wire.messages import Failure, Frame, Request
from fedstrata.wire.requests import to_json

log = logging.getLogger(__name__)

_SEND_LIMIT = 60.0  # seconds; a worker without work reads at once
_END_LIMIT = 60.0
_MOST_SAID = 4096


@dataclass(slots=True, eq=False)
class Task:
    """A request on its way to its reply."""

    request: Request
    reply: Frame | Failure | None = None


class WorkerProcess:
    """A fresh interpreter that serves one request at a time.

    Args:
        spec: What it is told.
        arena: Descriptor of the weights.
        folder: Where its files lie.
        environment: Variables beyond this process's own.
        stall: Seconds without processor time after which it hangs.
        period: Seconds between two looks at its processor time.

    Raises:
        TrainingError: The system starts no process.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        arena: int,
        folder: Path,
        environment: Mapping[str, str],
        stall: float,
        period: float,
    ) -> None:
        self.ready = False
        self.answered = 0
        self.task: Task | None = None
        self.started = monotonic()
        self._number = 0
        self._fresh_dog = Watchdog(stall, period)
        self._dog = self._fresh_dog
        self._area, self._words = SharedFile(folder), SharedFile(folder, appended=True)
        here, there = socket.socketpair()
        here.settimeout(_SEND_LIMIT)
        self.pipe = Pipe(here)
        try:
            self._process = _start(spec, there.fileno(), arena, self._area, self._words, environment)
        except OSError as error:
            self._let_go()
            raise TrainingError(f"cannot start a worker process: {error}; try fewer workers") from error
        finally:
            there.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def give(self, task: Task, manifest: Manifest) -> None:
        """Give it work.

        Args:
            task: What is to be done.
            manifest: Content hash of each block of the weights that it will find.

        Raises:
            OSError: It is gone, and has not begun.
        """
        self._number += 1
        self.pipe.send({"number": self._number, "request": to_json(task.request), "manifest": dict(manifest)})
        self.task, self._dog = task, replace(self._fresh_dog)

    def hear(self, message: Message) -> None:
        """Take note that it is ready, or take the frame that it announces, which ends its task."""
        if "ready" in message:
            self.ready = True
            self._words.empty()  # what importing and loading says, this process has said too
        elif self.task is not None and message["number"] == self._number:
            self.task.reply = Frame(self.task.request.client, read_at(self._area.descriptor, message["bytes"]))
            self.task = None
            self.answered += 1
            self._area.empty()
            self._pass_on_words()

    def hangs(self) -> bool:
        """Return whether it has work, and has waited without using the processor for too long."""
        now = monotonic()
        if self.task is None or not self._dog.due(now):
            return False
        seen = glimpse(self.pid)
        return seen is not None and self._dog.look(now, seen)

    def ended(self) -> bool:
        """Return whether the process has ended; its pipe stays open while a child of its own holds it."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return the end of what it wrote to its standard error."""
        size = self._words.bytes
        start = max(size - _MOST_SAID, 0)
        return read_at(self._words.descriptor, size - start, start).decode(errors="replace").strip()

    def how_it_ended(self) -> str:
        """Return in words how the process ended, after making sure that it has."""
        try:
            code = self._process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            return "its worker process closed its pipe"
        if code >= 0:
            last = self.last_words().rpartition("\n")[2]
            return f"its worker process exited with code {code}" + (f": {last}" if last else "")
        name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        if name in ("SIGKILL", "SIGTERM"):
            return f"its worker process was killed ({name})" + (", perhaps out of memory" if name == "SIGKILL" else "")
        return f"its worker process crashed ({name})"

    def dismiss(self) -> None:
        """Close its pipe: one without work then ends by itself."""
        self.pipe.close()

    def end(self, *, patience: float = 0.0) -> None:
        """Close its pipe, end it, reap it, and let go of its files.

        Args:
            patience: Seconds that it gets to end by itself, once its pipe is closed.
        """
        self.pipe.close()
        gone = patience > 0 and self._gone(patience)
        if not gone and not self._gone(_END_LIMIT, after=self._process.kill):
            log.warning("worker process %d does not end", self.pid)
        with suppress(ProcessLookupError, PermissionError):  # processes that a client started and left behind
            os.killpg(self.pid, signal.SIGKILL)
        self._let_go()

    def _let_go(self) -> None:
        self.pipe.close()
        self._area.close()
        self._words.close()

    def _gone(self, seconds: float, *, after: Callable[[], None] = lambda: None) -> bool:
        after()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _pass_on_words(self) -> None:
        """Log what clients wrote to standard error or output, as they would have had in this process."""
        if self._words.bytes:
            log.warning("worker process %d: %s", self.pid, self.last_words())
            self._words.empty()


def _start(
    spec: WorkerSpec, pipe: int, arena: int, area: SharedFile, words: SharedFile, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start an interpreter that imports what this one imports; in its own group, so that Ctrl-C does not reach it."""
    told = spec.to_bytes()
    write_at(area.descriptor, told, 0)
    numbers = [pipe, arena, area.descriptor, len(told), os.getpid()]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "fedstrata.engines.workers.start", *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=words.descriptor,
        stderr=words.descriptor,
        pass_fds=numbers[:3],
        process_group=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path), **environment},
    )
