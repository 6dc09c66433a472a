"""Processes that end when their parent does, also if it is killed.

    python -I -S parents.py PARENT SIGNAL PROGRAM...

becomes PROGRAM, once Linux will send it SIGNAL when PARENT ends; it does not if PARENT has ended before that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def end_with_parent(how: signal.Signals) -> None:
    """Have Linux send this process a signal when its parent ends; elsewhere nothing happens.

    The parent is the thread that started the process.

    Args:
        how: The signal.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)


def bound(command: Sequence[str], how: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return what starts a command of another's so that it ends with this process, from its first moment on.

    The parent is the thread that starts it. Elsewhere than on Linux the command comes back as it is.

    Args:
        command: A program by its path, and its arguments.
        how: The signal that it gets.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(how)), *command]


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


def main(arguments: Sequence[str]) -> None:
    """Become a program that ends with its parent."""
    parent, how, *command = arguments
    end_with_parent(signal.Signals(int(how)))
    if os.getppid() != int(parent):  # it ended before Linux knew, and will not end again
        raise SystemExit("whoever started this has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
