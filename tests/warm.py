"""Python processes that are ready at once: forks of a host that has imported what takes seconds (``warm_host.py``).

For tests of what a process does, not of how it starts: those run the interpreter itself. Elsewhere than on Linux these
are fresh interpreters, too.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Any
from unittest import mock

from warm_host import STARTER, Child, Order, standing_in

_SUBREAPER = 36
_STARTUP = ("PYTHON", "LD_", "MALLOC_")
"""Variables that an interpreter reads when it starts begin with these."""


def popen(
    words: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    pass_fds: Sequence[int] = (),
    process_group: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    warm_workers: bool = False,
) -> Child:
    """Start Python as ``subprocess.Popen`` does, with pipes of text.

    Args:
        words: The interpreter of this process, ``-P`` where it is wanted, and ``-m`` with a module or a script.
        stdin: A descriptor, or a constant of ``subprocess``.
        stdout: The same, or a file.
        stderr: The same.
        pass_fds: Descriptors that it inherits.
        process_group: 0 for one of its own.
        env: All its variables; by default those of this process.
        cwd: Where it starts.
        warm_workers: Whether the workers that it starts are forks of it.
    """
    given = dict(os.environ if env is None else env)
    if sys.platform != "linux" or words[0] != sys.executable:
        options = {"pass_fds": pass_fds, "process_group": process_group, "env": given, "cwd": cwd, "text": True}
        return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, **options)  # type: ignore[call-overload,no-any-return]
    changed = {n for n in {*given, *os.environ} if n.startswith(_STARTUP) and given.get(n) != os.environ.get(n)}
    if changed - {"PYTHONPATH"}:
        raise ValueError(f"an interpreter reads {', '.join(sorted(changed))} when it starts; start one with subprocess")
    order = Order(words[1:], str(cwd or Path.cwd()), given, [0, 1, 2, *pass_fds], process_group == 0, warm_workers)
    with ExitStack() as ends:
        sent, kept = [], []
        for number, stream in enumerate((stdin, stdout, stderr)):
            if stream == subprocess.PIPE:
                here, there = os.pipe()
                kept.append(open(here, encoding="utf-8"))  # noqa: SIM115, PTH123
                ends.callback(os.close, there)
                sent.append(there)
            elif stream == subprocess.DEVNULL:
                sent.append(os.open(os.devnull, os.O_RDWR))
                ends.callback(os.close, sent[-1])
            elif stream is None:
                sent.append(number)
            else:
                sent.append(stream if isinstance(stream, int) else stream.fileno())
        pid = _ask(order, [*sent, *pass_fds])
    out = kept.pop(0) if stdout == subprocess.PIPE else None
    return Child(pid, out, kept.pop(0) if kept else None)


def run(
    words: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python as ``subprocess.run`` does, and capture what it says."""
    process = popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=env)
    out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.wait(), out, err)


@contextmanager
def warm_workers(*, fresh: bool = False) -> Iterator[None]:
    """Have the workers that this process starts be forks of the host.

    Args:
        fresh: Whether they are fresh interpreters after all, also within another ``warm_workers``.
    """
    if sys.platform == "linux" and not fresh:
        _host()
    with mock.patch(f"{STARTER}.subprocess", subprocess if fresh else standing_in(popen)):
        yield


def _ask(order: Order, descriptors: Sequence[int]) -> int:
    """Have the host fork a child of this process, which takes in what its descendants leave only as long as that."""
    prctl = ctypes.CDLL(None).prctl
    line = _host()
    prctl(_SUBREAPER, 1)
    try:
        socket.send_fds(line, [json.dumps(asdict(order)).encode()], list(descriptors))
        return int(line.recv(32))
    finally:
        prctl(_SUBREAPER, 0)


@cache
def _host() -> socket.socket:
    """Start the host of this process, which ends with it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with closing(there):
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("warm_host.py")), str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
            env={**environment, "OMP_NUM_THREADS": "1"},
        )

    def end() -> None:
        here.close()
        process.wait()

    atexit.register(end)
    return here
