"""Measures how fast a machine is: times real requests in turn, and fits the rates that explain their times.

With the operations and bytes of each request known, its time is::

    seconds = forward / r_f + carry / r_c + weight / r_w + update / r_u + steps * step + visits * visit

The unknowns 1/r and the two fixed times come from non-negative least squares (Lawson and Hanson, Solving Least Squares
Problems, 1974), every equation divided by its measured time so that errors are relative. Where the times do not tell
the three kinds of passes apart, a weak pull towards one common rate decides; and no rate is taken for more than 20
times the common one, or the fastest update that was timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

LEAST_SWEEPS = 3
"""Times that every case is timed at the least."""
_MOST_SWEEPS = 1000
POOR = 0.15
"""Relative error from which a fit is said to be poor."""
_PULL = 0.02
"""Weight of the pull towards one common rate, against 1 for a measured time."""
_LEAST = 0.05
"""Least cost of an operation or byte, relative to what all together suggest."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a request asks of a machine.

    Attributes:
        forward: Floating-point operations of forward passes.
        carry: Operations that carry gradients through layers.
        weight: Operations of weight gradients.
        update: Bytes that updates read and write.
        steps: Local steps.
        visits: Requests.
    """

    forward: float = 0.0
    carry: float = 0.0
    weight: float = 0.0
    update: float = 0.0
    steps: int = 0
    visits: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A request that can be timed.

    Attributes:
        name: What it is, for people.
        work: What it asks.
        run: Does it, and returns when it is done, on a GPU too.
    """

    name: str
    work: Work
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Rates:
    """What was fitted; the attributes are those of ``DeviceProfile``."""

    forward: float
    carry: float
    weight: float
    update: float
    step: float
    visit: float

    def seconds(self, work: Work) -> float:
        """Return the time that some work takes.

        Example:
            >>> Rates(2.0, 4.0, 4.0, 8.0, step=1.0, visit=0.5).seconds(Work(4.0, 4.0, 2.0, 8.0, steps=1, visits=1))
            6.0
        """
        passes = work.forward / self.forward + work.carry / self.carry + work.weight / self.weight
        return passes + work.update / self.update + work.steps * self.step + work.visits * self.visit


class Watcher(Protocol):
    """Is told how timing goes on."""

    def __call__(self, name: str, *, done: int, total: int) -> None:
        """Hear what comes next, and how many of about how many timings are done."""
        ...


def time_cases(
    cases: Sequence[Case],
    *,
    seconds: float,
    watch: Watcher | None = None,
    clock: Callable[[], float] = perf_counter,
) -> tuple[float, ...]:
    """Return the median time of each case, timed in turn so that a machine's drift hits all alike.

    Args:
        cases: What to time; each is done once before, to warm up.
        seconds: How long to time; each case is timed at least ``LEAST_SWEEPS`` times, however long that takes.
        watch: Told before every timing.
        clock: Returns seconds.
    """
    times: list[list[float]] = [[] for _ in cases]
    start = clock()
    sweeps, sweep = LEAST_SWEEPS + 1, 0
    while sweep < sweeps:
        for place, case in enumerate(cases):
            if watch is not None:
                watch(case.name, done=sweep * len(cases) + place, total=sweeps * len(cases))
            begin = clock()
            case.run()
            if sweep:
                times[place].append(clock() - begin)
        sweep += 1
        sweeps = max(LEAST_SWEEPS + 1, min(_MOST_SWEEPS, int(seconds / max(clock() - start, 1e-9) * sweep)))
    return tuple(median(own) for own in times)


def fit(works: Sequence[Work], seconds: Sequence[float]) -> Rates:
    """Return the rates that explain the measured times best, by relative error.

    Args:
        works: What each request asked; every kind of operation and byte is asked by some.
        seconds: How long each took; above 0.

    Example:
        >>> true = Rates(6e10, 5e10, 7e10, 4e9, step=0.01, visit=0.02)
        >>> asked = [(0, 0, 0, 0), (0, 0, 0, 1), (6e9, 1e9, 1e7, 1), (3e9, 1e9, 1e7, 1), (6e9, 6e9, 6e7, 1)]
        >>> works = [Work(6e9, carry, weight, update, step, 1) for carry, weight, update, step in asked]
        >>> works += [Work(6e9, 6e9, 6e9, 0, 1, 1), Work(12e9, steps=2, visits=1), Work(update=1e8)]
        >>> found = fit(works, [true.seconds(work) for work in works])
        >>> f"{found.forward:.1g} {found.update:.1g} {found.step:.1g}"
        '6e+10 4e+09 0.01'
    """
    asked = np.array([[w.forward, w.carry, w.weight, w.update, w.steps, w.visits] for w in works], dtype=np.float64)
    times = np.array(seconds, dtype=np.float64)
    common = _common(asked[:, :3].sum(axis=1), times)
    scale = np.array([common, common, common, _shortest(asked[:, 3], times), times.min(), times.min()])
    least = np.array([_LEAST, _LEAST, _LEAST, _LEAST, 0.0, 0.0])
    rows = np.vstack([asked * scale / times[:, None], _PULL * np.eye(3, asked.shape[1])])
    wanted = np.concatenate([np.ones(len(times)), np.full(3, _PULL)])
    above, _ = nnls(rows, wanted - rows @ least)
    forward, carry, weight, update, step, visit = ((least + above) * scale).tolist()
    return Rates(1 / forward, 1 / carry, 1 / weight, 1 / update, step=step, visit=visit)


def _common(operations: NDArray[np.float64], times: NDArray[np.float64]) -> float:
    """Return seconds per operation, as if all took the same."""
    return float(times[operations > 0].sum() / max(operations.sum(), 1.0))


def _shortest(amounts: NDArray[np.float64], times: NDArray[np.float64]) -> float:
    """Return the least time per unit that any case took."""
    some = amounts > 0
    return float((times[some] / amounts[some]).min(initial=1.0))
