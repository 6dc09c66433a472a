"""The thin caller of a site's worker: hands a message over and brings the answer back, without importing torch.

Flower starts a process for every message; this is what that process calls. It needs the standard library alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from fedstrata.deploy.site.answer import Answer
from fedstrata.deploy.site.channel import Channel, StrangerError
from fedstrata.deploy.site.runtime_dir import RuntimeDir, runtime_dir_of
from fedstrata.deploy.site.starting import NoWorkerError, read_ending, start
from fedstrata.errors import StorageError, TrainingError
from fedstrata.locks import Lock
from fedstrata.process import last_words

WORKER = (sys.executable, "-P", "-m", "fedstrata.deploy.site.worker_process")
"""What starts a worker; the site's file and a descriptor are added."""
TIMEOUT = 43_200.0
"""Seconds: for so long Flower keeps a message."""
_MOST_TRIES = 5
_END = 300.0  # seconds for a worker that ends, or whose end is to be written down
_GLANCE = 1.0  # seconds for a worker that is asked to end, before it is killed


def ask(
    site_file: Path,
    said: Mapping[str, Any],
    layers: Mapping[str, bytes],
    *,
    timeout: float = TIMEOUT,
    worker: Sequence[str] = WORKER,
) -> Answer:
    """Have a site's worker answer, which is started if there is none, and return its answer; nothing is raised.

    Where there is no answer, ``kind`` is ``crashed`` or ``late``, and ``message`` one sentence for the server that
    holds nothing of the site. What the worker said last is in ``words``, for eyes on this machine.

    Args:
        site_file: The site's own file.
        said: What the server says.
        layers: Blobs that go with it.
        timeout: Seconds until there has to be an answer.
        worker: What starts a worker.

    Example:
        ``tests/deploy/site/test_worker_client.py`` asks a worker that does what it is asked.
    """
    try:
        return _Caller(site_file.resolve(), monotonic() + timeout, worker).ask(said, layers)
    except TimeoutError as error:
        return _without("late", f"the site's worker did not answer within {timeout:g} s", str(error))
    except NoWorkerError as error:
        return _without("crashed", str(error), error.words)
    except (StorageError, StrangerError, OSError) as error:
        return _without("crashed", "the site's worker cannot be reached", str(error))


def status(site_file: Path, *, timeout: float = 10.0) -> dict[str, Any] | None:
    """Return what a site's worker says of itself, such as its ``pid`` and its ``log``, or ``None`` if there is none.

    Args:
        site_file: The site's own file.
        timeout: Seconds that a worker may go on with what it does before it answers.
    """
    try:
        caller = _Caller(site_file.resolve(), monotonic() + timeout, WORKER)
        with caller.connected() as end:
            return caller.greeted(end)[1]
    except (OSError, EOFError, StorageError, StrangerError):
        return None


def stop(site_file: Path, *, timeout: float = 30.0) -> bool:
    """End a site's worker, whatever it does, wait until it is gone, and return whether there was one.

    Args:
        site_file: The site's own file.
        timeout: Seconds to wait.

    Raises:
        TrainingError: It does not end.
        StorageError: The folder where it would be found cannot be used.
    """
    runtime_dir = runtime_dir_of(site_file)
    life = Lock(runtime_dir.life)
    with Lock(runtime_dir.door, within=timeout):
        if life.take(within=0):
            there = False
        else:
            there = True
            told = _dismissed(site_file)
            if not (told and life.take(within=_GLANCE)) and not _killed(runtime_dir, life, signal.SIGTERM, timeout / 2):
                _killed(runtime_dir, life, signal.SIGKILL, timeout / 2)
        try:
            if not life.held:
                raise TrainingError(f"the worker of {site_file} does not end; its log says what it does")
            runtime_dir.socket.unlink(missing_ok=True)
        finally:
            life.release()
    return there


class _Caller:
    """One call.

    Args:
        path: The site's own file, absolute.
        limit: Until when it waits, on the monotonic clock.
        worker: What starts a worker.
    """

    def __init__(self, path: Path, limit: float, worker: Sequence[str]) -> None:
        self._path, self._limit, self._worker = path, limit, worker
        self._runtime_dir = runtime_dir_of(path)

    def ask(self, said: Mapping[str, Any], layers: Mapping[str, bytes]) -> Answer:
        """Find a worker or start one, and have it answer."""
        for _ in range(_MOST_TRIES):
            try:
                end = self.connected()
            except (FileNotFoundError, ConnectionRefusedError):
                self._start()
                continue
            with end:
                found = self._found(end)
                if found is not None:
                    return self._asked(*found, said, layers)
            self._wait_for_end("the site's worker turned this caller away")
        raise NoWorkerError("the site's worker does not stay", last_words(self._runtime_dir.words))

    def connected(self) -> socket.socket:
        """Return a connection to the worker, which may still be busy with another caller.

        Raises:
            OSError: There is no worker.
        """
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.settimeout(self._left())
            end.connect(str(self._runtime_dir.socket))
        except OSError:
            end.close()
            raise
        return end

    def greeted(self, end: socket.socket) -> tuple[Channel, dict[str, Any]]:
        """Wait for this caller's turn, and return what the worker says of itself."""
        channel = Channel(end, self._left())
        channel.introduce(self._runtime_dir.key())
        return channel, channel.receive()[0]

    def _found(self, end: socket.socket) -> tuple[Channel, dict[str, Any]] | None:
        """Return the worker, if it is one that stays and is of this version; another version is asked to end."""
        try:
            channel, hello = self.greeted(end)
            if hello.get("version") == version("fedstrata"):
                return channel, hello
            if not hello.get("ending"):
                channel.send({"do": "end"})
        except (EOFError, ConnectionError):  # it ended while this caller waited
            return None
        except StrangerError as error:
            raise NoWorkerError("the site's worker is not the one that it should be", str(error)) from error
        return None

    def _asked(
        self, channel: Channel, hello: Mapping[str, Any], said: Mapping[str, Any], layers: Mapping[str, bytes]
    ) -> Answer:
        try:
            channel.until(self._left())
            channel.send({"said": dict(said), "layers": list(layers)}, layers.values())
            answer, parts = channel.receive()
        except (EOFError, ConnectionError):
            self._wait_for_end("the site's worker gave no answer")
            return _without("crashed", *read_ending(Path(hello["log"])))
        return Answer(answer["said"], parts, tuple(answer["blocks"]))

    def _wait_for_end(self, otherwise: str) -> None:
        """Wait until the worker is gone.

        Raises:
            NoWorkerError: It stays, and did not speak to this caller.
        """
        life = Lock(self._runtime_dir.life)
        if not life.take(within=min(_END, self._left())):
            raise NoWorkerError(otherwise)
        life.release()

    def _start(self) -> None:
        """Start a worker, unless another caller just did."""
        with Lock(self._runtime_dir.door, within=self._left()):
            with suppress(FileNotFoundError, ConnectionRefusedError):
                self.connected().close()
                return
            start(self._runtime_dir, self._path, self._worker, within=self._left())

    def _left(self) -> float:
        left = self._limit - monotonic()
        if left <= 0:
            raise TimeoutError("there is no time left")
        return left


def _without(kind: str, message: str, words: str) -> Answer:
    return Answer({"kind": kind, "message": message}, words=words)


def _dismissed(site_file: Path) -> bool:
    """Ask a worker to end, and return whether it had time to listen."""
    caller = _Caller(site_file.resolve(), monotonic() + _GLANCE, WORKER)
    try:
        with caller.connected() as end:
            channel, _ = caller.greeted(end)
            channel.send({"do": "end"})
            return True
    except (OSError, EOFError, StrangerError):
        return False


def _killed(runtime_dir: RuntimeDir, life: Lock, how: signal.Signals, within: float) -> bool:
    """Send the worker a signal, and return whether it is gone."""
    with suppress(OSError, ValueError):
        os.kill(int(runtime_dir.pid.read_text()), how)
    return life.take(within=within)
