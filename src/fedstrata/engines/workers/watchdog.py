"""Whether a process still works: one that waits for long, for neither processor nor disk, hangs."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

_KEPT_WAITING = frozenset({psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP})


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A process at one moment.

    Attributes:
        used: Seconds of processor time that it has used so far.
        ready: Whether it runs, or would if the machine had a processor or a disk free for it.
    """

    used: float
    ready: bool = False


@dataclass(slots=True)
class Watchdog:
    """Adds up for how long a process has neither used the processor nor waited for its turn, as far as it was sampled.

    A long time in which nobody looked counts as one period: a server that was stopped, or busy with something else,
    does not know that its workers stood still.

    Attributes:
        limit: Seconds without processor time that are too long.
        period: Seconds between two looks.

    Example:
        >>> dog = Watchdog(limit=2.0, period=1.0)
        >>> [dog.look(at, Glimpse(used)) for at, used in ((0, 5.0), (1, 5.1), (2, 5.1), (3, 5.1), (9, 5.2), (90, 5.2))]
        [False, False, False, True, False, False]
    """

    limit: float
    period: float
    _quiet: float = 0.0
    _at: float | None = None
    _used: float = -1.0

    def due(self, now: float) -> bool:
        """Return whether it is time for a look."""
        return self._at is None or now - self._at >= self.period

    def look(self, now: float, seen: Glimpse) -> bool:
        """Return whether the process has stood still for too long.

        Args:
            now: Seconds on any clock.
            seen: The process at that moment.
        """
        since = 0.0 if self._at is None else now - self._at
        works = seen.ready or seen.used > self._used
        self._quiet = 0.0 if works else self._quiet + min(since, self.period)
        self._at, self._used = now, max(seen.used, self._used)
        return self._quiet >= self.limit


def glimpse(pid: int) -> Glimpse | None:
    """Return a process as it is now, all its threads together; ``None`` if it is gone."""
    try:
        process = psutil.Process(pid)
        times, status = process.cpu_times(), process.status()
    except psutil.Error:
        return None
    return Glimpse(float(times.user + times.system), status in _KEPT_WAITING)
