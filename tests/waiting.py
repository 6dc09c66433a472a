"""Waiting for what happens, however long it takes: no machine is too slow for a test."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

HANG = 3600.0
"""Seconds after which something that is waited for never comes: not a limit, but what ends a suite that hangs."""


def until(what: Callable[[], T], *, why: str, every: float = 0.02) -> T:
    """Wait until something is true, and return it.

    Args:
        what: Asked again and again.
        why: What is waited for.
        every: Seconds between two questions.
    """
    end = monotonic() + HANG
    while not (found := what()):
        assert monotonic() < end, f"it never came: {why}"
        Event().wait(every)
    return found
