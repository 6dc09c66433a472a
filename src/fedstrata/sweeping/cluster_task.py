"""What runs on a node of a cluster: one run of a sweep, from its newest checkpoint to its end."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fedstrata.assembly.shared import Shared
from fedstrata.engines.ray.actor import difference, here, versions
from fedstrata.files import private_file, write_atomic
from fedstrata.interpreter import Message
from fedstrata.locks import Lock
from fedstrata.sweeping.rows import LatestRows
from fedstrata.sweeping.step_cost_cache import KnownSteps
from fedstrata.sweeping.worker import ended

_LEASE = 180.0  # seconds for which a file system may keep a dead node's lock


@dataclass(frozen=True, slots=True)
class Files:
    """How a task and its sweep speak: files on a path that both see.

    Attributes:
        said: What the task says.
        wanted: Is there once the sweep wants to stop.
    """

    said: Path
    wanted: Path

    def stop(self) -> bool:
        """Return whether the sweep wants to stop; asked after each round."""
        return self.wanted.exists()

    def say(self, **facts: object) -> None:
        """Tell the sweep."""
        write_atomic(self.said, json.dumps(facts))


def play_task(said: bytes) -> bytes:
    """Play a run, and return how it ended.

    Args:
        said: JSON: what a worker is told of a run (``schedule.task_of``), and the files to speak through.

    Returns:
        JSON, as a worker says it: ``ended`` or ``failed``; and the ``log`` where a traceback is.
    """
    task = json.loads(said)
    unfit = _unfit(task)
    if unfit:
        return json.dumps({"failed": f"node {here()} of the Ray cluster cannot play it: {unfit}"}).encode()
    files = Files(Path(task["said"]), Path(task["stop"]))
    if files.stop():
        return json.dumps({"ended": "interrupted"}).encode()
    log, folder = _logging_to(Path(task["logs"])), Path(task["folder"])
    if folder.is_dir():
        lock = Lock(folder)  # of a task whose node died, perhaps, until the file system has noticed
        lock.take(within=_LEASE)
        lock.release()
    answer: Message = ended(task, files, _shared())
    return json.dumps({**answer, "log": str(log)}).encode()


def _unfit(task: Mapping[str, Any]) -> str:
    """Return why this node cannot play a run, if it cannot."""
    if not Path(task["seen"]).is_file():
        return f"it does not see {task['logs']}; name an output on a path that all nodes see"
    return difference(task["versions"], versions())


@cache
def _shared() -> Shared:
    """Return what the runs of this process share."""
    return Shared(LatestRows(), KnownSteps())


@cache
def _logging_to(folder: Path) -> Path:
    """Have this process log to a file of its own, and return it."""
    path = private_file(folder / f"{here().partition(' ')[0]}-{os.getpid()}.log")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger("fedstrata").addHandler(handler)
    return path
