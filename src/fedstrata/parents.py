"""Processes that end when whoever started them does, however that happens."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(how: signal.Signals) -> None:
    """Have Linux send this process a signal when its parent ends; elsewhere nothing happens.

    The parent is the thread that started the process.

    Args:
        how: The signal.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)


def begin_as_worker(parent: int) -> None:
    """Have this process end when its parent does, even while it works, and leave signals for both to the parent.

    Ctrl-C reaches every process of a terminal, and a scheduler's SIGTERM every process of a job: the parent decides.
    Linux sends the signal when the thread that started the process ends: one that ends takes its idle workers with it.

    Args:
        parent: The parent's process id; if it has ended before, so does this process.
    """
    for ignored in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, ignored):
            signal.signal(getattr(signal, ignored), signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked for
        raise SystemExit("whoever started this worker is gone")
