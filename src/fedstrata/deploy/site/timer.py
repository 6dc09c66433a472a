"""The time limit of a piece of work: an alarm interrupts it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fedstrata.domain.reasons import Reason
from fedstrata.errors import ClientError


class OutOfTime(BaseException):
    """The time is up."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop what runs inside once the time is up; it has to be the process's main thread.

    What runs in compiled code is stopped when it comes back; the worker's own watchdog ends a process in which it does
    not.

    Args:
        seconds: Real time.

    Raises:
        ClientError: The time was up, with reason ``REFUSED``.
        RuntimeError: This is another thread, which no signal reaches.

    Example:
        >>> with within(60.0):
        ...     pass
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("the time of a piece of work can be bounded in the main thread alone")
    running = True

    def ring(_signum: int, _frame: FrameType | None) -> None:
        if running:
            raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:
            running = False  # a signal between the end of the work and that of the timer has come too late
    except OutOfTime as error:
        raise ClientError(
            f"the work took longer than the {seconds:g} s that its own limits allow (limits.seconds)",
            reason=Reason.REFUSED,
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
