"""Processes that end when whoever started them does, however that happens."""

from __future__ import annotations

import ctypes
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
