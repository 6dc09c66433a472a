"""Whether a process still works: one whose processor time stands still for long hangs."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(slots=True)
class Watchdog:
    """Adds up for how long a process has used no processor time, as far as somebody looked.

    A long time in which nobody looked counts as one period: a server that was stopped, or busy with something else,
    does not know that its workers stood still.

    Attributes:
        limit: Seconds without processor time that are too long.
        period: Seconds between two looks.

    Example:
        >>> dog = Watchdog(limit=2.0, period=1.0)
        >>> [dog.look(at, used) for at, used in ((0, 5.0), (1, 5.1), (2, 5.1), (3, 5.1), (9, 5.2), (90, 5.2))]
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

    def look(self, now: float, used: float) -> bool:
        """Return whether the process has stood still for too long.

        Args:
            now: Seconds on any clock.
            used: Seconds of processor time that the process has used so far.
        """
        since = 0.0 if self._at is None else now - self._at
        self._quiet = 0.0 if used > self._used else self._quiet + min(since, self.period)
        self._at, self._used = now, max(used, self._used)
        return self._quiet >= self.limit


def processor_seconds(pid: int) -> float | None:
    """Return the processor time of a process, all its threads together; ``None`` if it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
