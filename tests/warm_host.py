"""A process that has imported what takes seconds, and forks for each command that it is sent.

    python -P warm_host.py SOCKET

A fork becomes ``python -m MODULE ...`` or ``python SCRIPT ...``, with the words, environment, folder, descriptors,
signals, ``sys.path`` and exit codes of a fresh interpreter. It is a child of whoever asked, not of the host.
"""

from __future__ import annotations

import array
import atexit
import fcntl
import gc
import importlib
import json
import logging
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NoReturn, Self

LARGEST = 2**17
"""Bytes of an order; most of them are its environment."""
_IMPORTED = ("transformers", "fedstrata.assembly.run", "fedstrata.report", "fedstrata.sweeping.worker")
STARTER = "fedstrata.interpreter"
"""The module that starts processes of workers."""
_PATH = tuple(sys.path)
_IGNORED = {one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_IGN}
"""Signals that whoever started the suite has ignored, such as ``nohup``; every process inherits that."""
_SPARE = 512
"""Descriptors wait here for the numbers that they are to have."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to become.

    Attributes:
        words: What follows ``python`` on the command line.
        folder: Where it starts.
        environment: All its variables.
        numbers: The number that each of its descriptors is to have.
        leads: Whether it leads a process group.
        warm: Whether the workers that it starts are forks of it.
    """

    words: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    numbers: Sequence[int]
    leads: bool = False
    warm: bool = False


def serve(line: socket.socket) -> Order | None:
    """Fork for each order; return ``None`` once nobody is left to ask, and in a fork what it is to become."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all forks share stays shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; whoever asked decides
    while True:
        data, ancillary, _, _ = line.recvmsg(LARGEST, socket.CMSG_SPACE(64 * array.array("i").itemsize))
        if not data:
            return None
        descriptors = [number for _, _, held in ancillary for number in array.array("i", held)]
        if (born := _fork_twice()) == 0:
            line.detach()  # its number is somebody else's from here on
            order = Order(**json.loads(data))
            _settle(order, descriptors)
            return order
        line.send(str(born).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_twice() -> int:
    """Fork a process whose parent ends at once; return its id, and 0 in itself once it has its new parent."""
    reading, writing = os.pipe()
    between = os.fork()
    if between:
        os.close(writing)
        os.waitpid(between, 0)
        with os.fdopen(reading) as said:
            return int(said.read())
    own = os.getpid()
    if born := os.fork():
        os.write(writing, str(born).encode())
        os._exit(0)
    while os.getppid() == own:
        time.sleep(0.0005)
    return 0


def _settle(order: Order, descriptors: Sequence[int]) -> None:
    """Take a fresh process's place: group, signals, descriptors, folder, environment."""
    if order.leads:
        os.setpgid(0, 0)
    for usual in {signal.SIGTERM, signal.SIGHUP} - _IGNORED:
        signal.signal(usual, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    spare = max(_SPARE, *order.numbers) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, spare) for descriptor in descriptors]
    os.closerange(0, spare)
    for source, number in zip(moved, order.numbers, strict=True):
        os.dup2(source, number)
    os.closerange(spare, spare + len(moved) + _SPARE)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)


def become(order: Order) -> None:
    """Run a module or a script as the interpreter does."""
    if order.warm:
        vars(importlib.import_module(STARTER))["subprocess"] = standing_in(forked)
    safe = order.words[0] == "-P"
    first, *rest = order.words[1:] if safe else order.words
    own = Path.cwd() if first == "-m" else Path(first).resolve().parent
    named = order.environment.get("PYTHONPATH")
    sys.path[:] = [*([] if safe else [str(own)]), *(named.split(os.pathsep) if named else ()), *_PATH]
    sys.argv = [first, *(rest[1:] if first == "-m" else rest)]
    if first == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(first, run_name="__main__")


def standing_in(start: Callable[..., Child]) -> SimpleNamespace:
    """Return what stands for the module ``subprocess`` where only processes of Python are started."""
    return SimpleNamespace(**{**vars(subprocess), "Popen": start})


def forked(
    words: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int],
    process_group: int,
    env: Mapping[str, str],
) -> Child:
    """Start a worker of this process as a fork of it."""
    assert (words[0], stdin, process_group) == (sys.executable, subprocess.DEVNULL, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    streams = [nothing, stdout, stderr]
    order = Order(words[1:], str(Path.cwd()), env, [0, 1, 2, *pass_fds], leads=True)
    pid = os.fork()
    if pid == 0:  # and stays above the frames that it was forked from
        gc.freeze()  # what holds a descriptor of the other process must not close it here, where it is another's
        atexit._clear()
        _settle(order, [*streams, *pass_fds])
        logging.root.handlers.clear()
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        live(order)
    os.close(nothing)
    return Child(pid)


def live(order: Order) -> NoReturn:
    """Become something to its end, and end as an interpreter does, but for taking down what was imported."""
    code = 0
    try:
        become(order)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except KeyboardInterrupt:
        code = -signal.SIGINT
        traceback.print_exc()
    except BaseException:
        code = 1
        traceback.print_exc()
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:
        code = code or 120
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


class Child:
    """A child of this process, with what is used of a ``subprocess.Popen``.

    Args:
        pid: Its id.
        stdout: The end of its standard output, where that is a pipe.
        stderr: The same of its standard error.
    """

    def __init__(self, pid: int, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or ``None``."""
        return self._look(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: It has not ended after so many seconds.
        """
        if timeout is None:
            self._look(0)
        end = time.monotonic() + (timeout or 0.0)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.002)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their end, and wait."""
        with ThreadPoolExecutor(2) as readers:
            out, err = readers.map(lambda stream: stream.read() if stream else "", (self.stdout, self.stderr))
        self.wait(timeout)
        self.close()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the streams."""
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        """It has been started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end."""
        self.close()
        self.wait()

    def _look(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


if __name__ == "__main__":
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        live(wanted)
