"""Nothing stays behind: no process, no descriptor, however the server ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fedstrata.errors import TrainingError
from waiting import HANG
from worker_engines import asked, play, wait_for_end, workers

SERVER = """
import signal
from worker_engines import *
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with workers(1, fresh=True) as engine:
    play(engine, asked("a"))
    print(*engine.pids, flush=True)
    play(engine, asked("spin"))
"""


def descriptors() -> set[str]:
    """Return what this process holds open."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_closed_engine_leaves_no_process_and_no_descriptor() -> None:
    before = descriptors()
    with workers(2, fresh=True) as engine:
        play(engine, asked("a", "killed", "b", "c"))
        replies = engine.send(asked("sum", "spin", "hang"))
        next(replies)
        pids = engine.pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert descriptors() == before
    engine.close()
    with pytest.raises(TrainingError, match="the engine is closed"):
        list(replies)
    with pytest.raises(TrainingError, match="the engine is closed"):
        engine.send([])


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_server(how: signal.Signals) -> None:
    """At work, where they do not see that their pipe has ended."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    with server:
        assert server.stdout
        worker = psutil.Process(int(server.stdout.readline()))
        server.send_signal(how)
        server.wait(HANG)
    if worker.is_running():
        wait_for_end(worker.pid)
