"""What runs inside a worker of a sweep: run after run in one process, until the other end of the pipe is gone.

    python -m fedstrata.start PARENT fedstrata.sweeping.worker PIPE

Libraries are imported once, and rows are loaded once for all runs that share them. Its standard error is the worker's
log.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from fedstrata.assembly.shared import Shared
from fedstrata.blame import told
from fedstrata.errors import FedstrataError
from fedstrata.interpreter import Message, receive, send
from fedstrata.sweeping.play import play
from fedstrata.sweeping.rows import LatestRows
from fedstrata.sweeping.step_cost_cache import KnownSteps

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Line:
    """The worker's end of the pipe: it sends messages, and sees whether it is to stop."""

    pipe: Connection
    stopping: bool = False

    def stop(self) -> bool:
        """Return whether the sweep wants to stop, or is gone; asked after each round."""
        while not self.stopping and self.pipe.poll():
            message = receive(self.pipe)
            self.stopping = message is None or "stop" in message
        return self.stopping

    def next(self) -> Message | None:
        """Wait for the next run, and return ``None`` if there is none."""
        message = None if self.stopping else receive(self.pipe)
        return None if message is None or "stop" in message else message

    def say(self, **facts: object) -> None:
        """Tell the sweep."""
        send(self.pipe, facts)


def main(pipe: Connection, _arguments: Sequence[str] = ()) -> None:
    """Play runs until there is none."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    line, shared = Line(pipe), Shared(LatestRows(), KnownSteps())
    line.say(ready=True)
    while (task := line.next()) is not None:
        line.say(**ended(task, line, shared))


class Caller(Protocol):
    """The sweep, as whoever plays a run for it sees it."""

    def stop(self) -> bool:
        """Return whether it wants to stop; asked after each round."""
        ...

    def say(self, **facts: object) -> None:
        """Tell it."""
        ...


def ended(task: Message, line: Caller, shared: Shared) -> Message:
    """Play a run, and return how it ended: ``ended``, or ``failed`` with the reason, ``logged`` if there is more."""
    try:
        marks = {tuple(loc): place for loc, place in task["marks"]}
        state = play(
            Path(task["folder"]),
            config=task["config"],
            marks=marks,
            keep_model=task["keep_model"],
            shared=shared,
            stop=line.stop,
            tell=lambda rounds: line.say(rounds=rounds),
        )
    except BrokenPipeError:
        raise
    except FedstrataError as error:
        log.error("%s: %s", task["folder"], error)
        return {"failed": str(error)}
    except Exception as error:
        log.exception("%s", task["folder"])
        return {"failed": told(error), "logged": True}
    finally:
        gc.collect()  # models have cycles; the next run should not have to share the memory
    return {"ended": state}
