"""Clocks and deadlines: every wait of a round takes what is left of one deadline, on a clock that never jumps."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Protocol


class Clock(Protocol):
    """Tells seconds since some fixed moment; never goes back."""

    def now(self) -> float:
        """Return seconds."""
        ...


@dataclass(frozen=True, slots=True)
class MonotonicClock:
    """The machine's monotonic clock: setting the date does not move it."""

    def now(self) -> float:
        """Return seconds since the machine was started, or so."""
        return monotonic()


MONOTONIC = MonotonicClock()
"""The clock of everything that really waits."""


class VirtualClock:
    """A clock that moves when it is told to: for tests of deadlines without waiting.

    Example:
        >>> clock = VirtualClock()
        >>> clock.advance_to(5.0), clock.advance_to(3.0), clock.now()
        (None, None, 5.0)
    """

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Return the seconds that it was told."""
        return self._now

    def advance_to(self, seconds: float) -> None:
        """Move forward to a moment; a moment that has passed changes nothing."""
        self._now = max(self._now, seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a wait.

    Attributes:
        at: When it is, on the clock; infinite for never.
        clock: Whose time it is.

    Example:
        >>> clock = VirtualClock()
        >>> deadline = Deadline.after(10.0, clock)
        >>> clock.advance_to(4.0)
        >>> deadline.left(), deadline.passed(), Deadline.after(None, clock).passed()
        (6.0, False, False)
    """

    at: float = inf
    clock: Clock = MONOTONIC

    @classmethod
    def after(cls, seconds: float | None, clock: Clock) -> Deadline:
        """Return the deadline so many seconds from now; ``None`` is never."""
        return cls(inf if seconds is None else clock.now() + seconds, clock)

    def left(self) -> float:
        """Return the seconds that are left; 0 once it has passed, infinite for never."""
        return max(self.at - self.clock.now(), 0.0)

    def passed(self) -> bool:
        """Return whether it has passed."""
        return self.clock.now() > self.at
