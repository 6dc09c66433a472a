"""What a benchmark yields: one comparison after the other, as ratios that were measured side by side in one process.

A file ``bench_*.py`` that ``make bench`` is to run has a function ``compare(*, short: bool) -> Iterator[Row]``. Ratios
are quoted, never seconds: machines drift, and whatever else runs on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: What is compared with what, and in which setting.
        ours: Median of what was measured of fedstrata.
        base: Median of what was measured of the other.
        ratio: Median of ``ours / base`` pair by pair; of a gain, ``base / ours``.
        goal: What the ratio is to be; ``None`` where there is no goal and the row only informs.
        gain: Whether a larger ratio is better: ``base / ours``.
        unit: Of ``ours`` and ``base``.
    """

    name: str
    ours: float
    base: float
    ratio: float
    goal: float | None = None
    gain: bool = False
    unit: str = "s"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` where there is none."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.gain else self.ratio <= self.goal

    def __str__(self) -> str:
        said = {True: "met", False: "missed", None: ""}[self.met]
        goal = "" if self.goal is None else f"{'>=' if self.gain else '<='} {self.goal:g}"
        return f"{self.name:66} {self.ours:10.4g} {self.base:10.4g} {self.unit:3} {self.ratio:7.3f}  {goal:8} {said}"


def of_pairs(name: str, pairs: Iterable[tuple[float, float]], **more: object) -> Row:
    """Return the row of measured pairs ``(ours, base)``; ``more`` are further fields of it."""
    held = list(pairs)
    one, other = (median(column) for column in zip(*held, strict=True))
    ratio = median(b / a if more.get("gain") else a / b for a, b in held)
    return Row(name, one, other, ratio, **more)  # type: ignore[arg-type]


def in_turn(ours: Callable[[], object], base: Callable[[], object], count: int) -> list[tuple[float, float]]:
    """Return the processor seconds of both, played in turn; the first turn is let go by."""
    ours(), base()
    found = []
    for _ in range(count):
        start = time.process_time()
        ours()
        middle = time.process_time()
        base()
        found.append((middle - start, time.process_time() - middle))
    return found
