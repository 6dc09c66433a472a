"""A sweep over a Ray cluster: each run is a task on some node, and goes on elsewhere when its node dies.

It has the form of the pool of worker processes (``pool.py``). A run's folder lies on a path that all nodes see, and so
do the few bytes by which a task says how far it is, and hears that it is to stop.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray

from fedstrata.blame import told
from fedstrata.config.load import check_config
from fedstrata.engines.ray.actor import versions
from fedstrata.engines.ray.cluster import Connection, Need, connect, room
from fedstrata.errors import ConfigError
from fedstrata.files import private_file
from fedstrata.interpreter import Message
from fedstrata.sweeping.cluster_task import play_task
from fedstrata.sweeping.jobs import Job

_LOOK = 0.5


class TaskPlace:
    """A place for one run at a time.

    Args:
        number: Its place, from 0.
        said: File that the run's task writes how far it is to.
    """

    def __init__(self, number: int, said: Path) -> None:
        self.number, self.said = number, said
        self.ready = False
        self.log: object = "Ray's logs"
        self.task: Any = None
        self.heard = b""
        self.why = ""

    def how_it_ended(self) -> str:
        """Return in words how the task ended that gave no answer."""
        return f"its node or its process there has ended ({self.why})"

    def last_words(self) -> str:
        """Return nothing: a task that has not started has said nothing."""
        return ""

    def rounds(self) -> Message | None:
        """Return how far the task is, if it has said so since the last time."""
        try:
            data = self.said.read_bytes()
            message: Message = json.loads(data) if data != self.heard else {}
        except (FileNotFoundError, ValueError):  # not yet, or not yet whole
            return None
        self.heard = data
        return message or None


class ClusterPool:
    """Places for runs on a cluster; leaving the ``with`` block ends what is still played.

    Args:
        folder: Where a task's log and what it says lie; exists, and all nodes see it.
        connection: The cluster; left with the block.
        jobs: The runs.

    Example:
        See ``tests/e2e/test_ray_cluster.py``.
    """

    tries = 3
    """How many tasks may end over a run, without a new round, before it counts as failed."""

    def __init__(self, folder: Path, connection: Connection, jobs: Sequence[Job]) -> None:
        self._folder, self._connection = folder.absolute(), connection
        self._jobs = {str(job.folder): job for job in jobs}
        self._token = secrets.token_hex(8)
        self._places: dict[int, TaskPlace] = {}
        self._task = ray.remote(play_task)

    def hire(self, number: int) -> TaskPlace:
        """Make a place; it asks for a run at once."""
        self._places[number] = place = TaskPlace(number, self._file(f"{number}.json"))
        return place

    def tell(self, place: TaskPlace, message: Mapping[str, Any]) -> None:
        """Have a run played on a node that has room for it."""
        place.said.unlink(missing_ok=True)
        place.heard = b""
        files = {"seen": str(self._file("seen")), "stop": str(self._file("stop")), "said": str(place.said)}
        job = self._jobs[message["folder"]]
        folder = job.folder.absolute()  # nodes work in other folders than this process
        where = {"folder": str(folder), "config": job.config(folder), "logs": str(self._folder)}
        task = json.dumps({**message, **where, **files, "versions": versions()})
        reserved = self._task.options(**need_of(job).options(), max_retries=0)  # another try is ours to give
        place.task = reserved.remote(task.encode())

    def tell_all(self, message: Mapping[str, Any]) -> None:
        """Have all runs stop after the round at work; that is all that a sweep says to all."""
        if "stop" in message:
            private_file(self._file("stop"))

    def hear(self) -> Iterator[tuple[TaskPlace, Message | None]]:
        """Wait a moment, and yield what tasks say; ``None`` stands for the end of one, whose place is removed."""
        for place in [place for place in self._places.values() if not place.ready]:
            place.ready = True
            yield place, {"ready": True}
        tasks = {place.task: place for place in self._places.values() if place.task is not None}
        done, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=_LOOK) if tasks else ((), ())
        for place in tasks.values():
            if (message := place.rounds()) is not None:
                yield place, message
        for task in done:
            yield tasks[task], self._answer(tasks[task])

    def dismiss(self) -> None:
        """Nothing is played any more."""

    def __enter__(self) -> Self:
        """Leave the mark by which a node shows that it sees the folder."""
        private_file(self._file("seen"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is still played, at once, and leave the cluster."""
        for place in self._places.values():
            if place.task is not None:
                with suppress(ray.exceptions.RayError):
                    ray.cancel(place.task, force=True)
        for file in self._folder.glob(f"{self._token}-*"):
            file.unlink(missing_ok=True)
        self._connection.close()

    def _file(self, name: str) -> Path:
        return self._folder / f"{self._token}-{name}"

    def _answer(self, place: TaskPlace) -> Message | None:
        task, place.task = place.task, None
        try:
            message: Message = json.loads(ray.get(task))
        except ray.exceptions.RayTaskError as error:
            return {"failed": told(error.cause)}
        except ray.exceptions.RayError as error:
            place.why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
            del self._places[place.number]
            return None
        place.log = message.get("log", place.log)
        return message


def cluster_pool(address: str, folder: Path, jobs: Sequence[Job]) -> tuple[ClusterPool, int]:
    """Connect to a cluster, and return the places for runs there and how many of them there is room for now.

    Args:
        address: ``HOST:PORT``, or ``auto``.
        folder: See ``ClusterPool``.
        jobs: The runs.

    Raises:
        ConfigError: No cluster answers, no node has room, or a run does not say how many cores it takes.
    """
    needs = {need_of(job) for job in jobs}
    connection = connect(address)
    try:
        most = min((room(need) for need in needs), default=1)
    except BaseException:
        connection.close()
        raise
    return ClusterPool(folder, connection, jobs), most


def need_of(job: Job) -> Need:
    """Return what a run reserves on its node: ``threads`` cores, for each of its worker processes, and its GPUs.

    Raises:
        ConfigError: It would start as many worker processes as its node has cores.
    """
    config = check_config(job.values, marks=job.marks).config
    if config.engine == "processes" and config.workers is None:
        raise ConfigError(
            f"{job.title}: engine: processes takes all cores of a node; say how many with workers, or use"
            " engine: local, since a cluster plays runs side by side"
        )
    return Need(config.threads * (config.workers or 1), config.ray.gpus_on(config.device))
