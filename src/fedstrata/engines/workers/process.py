"""One worker process, seen from the server: started, given work, watched, ended and reaped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from fedstrata.domain.ids import ClientId
from fedstrata.domain.versions import Manifest
from fedstrata.engines.workers.shared import SharedFile, read_at, write_at
from fedstrata.engines.workers.watchdog import Watchdog, glimpse
from fedstrata.engines.workers.worker_spec import WorkerSpec
from fedstrata.errors import TrainingError
from fedstrata.interpreter import Interpreter, Message, send
from fedstrata.process import in_words
from fedstrata.wire.messages import Evaluate, Failure, Frame, Request
from fedstrata.wire.requests import to_json

log = logging.getLogger(__name__)

_MOST_SAID = 4096


@dataclass(slots=True, eq=False)
class Task:
    """A request on its way to its reply."""

    request: Request
    reply: Frame | Failure | None = None

    @property
    def pool(self) -> ClientId | None:
        """The first of the clients that are evaluated together with this one, who is in no other pool."""
        together = self.request.together if isinstance(self.request, Evaluate) else ()
        return together[0] if together else None


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
        self.pool: ClientId | None = None
        """Of the task that it was given last."""
        self.started = monotonic()
        self._number = 0
        self._fresh_dog = Watchdog(stall, period)
        self._dog = self._fresh_dog
        self._area, self._words = SharedFile(folder), SharedFile(folder, appended=True)
        try:
            self._interpreter = self._started(spec, arena, environment)
        except OSError as error:
            self._let_go()
            raise TrainingError(f"cannot start a worker process: {error}; try fewer workers") from error
        self.pid, self.pipe, self.ended = self._interpreter.pid, self._interpreter.pipe, self._interpreter.ended

    def give(self, task: Task, manifest: Manifest) -> None:
        """Give it work.

        Args:
            task: What is to be done.
            manifest: Content hash of each block of the weights that it will find.

        Raises:
            OSError: It is gone, and has not begun.
        """
        self._number += 1
        send(self.pipe, {"number": self._number, "request": to_json(task.request), "manifest": dict(manifest)})
        self.task, self.pool, self._dog = task, task.pool, replace(self._fresh_dog)

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

    def last_words(self) -> str:
        """Return the end of what it wrote to its standard error."""
        size = self._words.bytes
        start = max(size - _MOST_SAID, 0)
        return read_at(self._words.descriptor, size - start, start).decode(errors="replace").strip()

    def how_it_ended(self) -> str:
        """Return in words how the process ended, after making sure that it has."""
        code = self._interpreter.code()
        last = self.last_words().rpartition("\n")[2] if code is not None and code >= 0 else ""
        return f"its worker process {in_words(code)}" + (f": {last}" if last else "")

    def end(self, *, patience: float = 0.0) -> None:
        """Close its pipe, end it, reap it, and close its files.

        Args:
            patience: Seconds that it gets to end by itself, once its pipe is closed.
        """
        self._interpreter.end(patience=patience)
        self._let_go()

    def _started(self, spec: WorkerSpec, arena: int, environment: Mapping[str, str]) -> Interpreter:
        told = spec.to_bytes()
        write_at(self._area.descriptor, told, 0)
        inherited = arena, self._area.descriptor
        return Interpreter(
            "fedstrata.engines.workers.main",
            *inherited,
            len(told),
            output=self._words.descriptor,
            inherited=inherited,
            environment=environment,
        )

    def _let_go(self) -> None:
        self._area.close()
        self._words.close()

    def _pass_on_words(self) -> None:
        """Log what clients wrote to standard error or output, as they would have had in this process."""
        if self._words.bytes:
            log.warning("worker process %d: %s", self.pid, self.last_words())
            self._words.empty()
