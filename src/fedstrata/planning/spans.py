"""Ranges of costs, and how those of client-rounds make up a run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.cost import Cost
from fedstrata.domain.units import UNITS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """From the least to the most that something may cost; both the same where it is known.

    Attributes:
        low: The least, unit by unit.
        high: The most, unit by unit.
        loose: Units in which the most is a bound that no mask may reach.
    """

    low: Cost
    high: Cost
    loose: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is no range."""
        return repr(self.low) == repr(self.high)


def total(played: Sequence[Sequence[Span]], rounds: int) -> Span:
    """Return the run: the rounds played, and the others like the mean of those after the first.

    Example:
        >>> one, two = (Cost(bytes_up=float(n)) for n in (1, 2))
        >>> total([[Span(one, one)], [Span(one, two)]], rounds=4).high.bytes_up
        7.0
    """
    ends = []
    for name in ("low", "high"):
        per_round = [np.sum(np.array([_vector(getattr(span, name)) for span in part]), axis=0) for part in played]
        found = per_round[0] + (np.mean(np.array(per_round[1:]), axis=0) * (rounds - 1) if rounds > 1 else 0.0)
        found[UNITS.index("bytes_peak")] = np.max([getattr(span, name).bytes_peak for part in played for span in part])
        ends.append(_as_cost(found))
    return Span(ends[0], ends[1], _loose([span for part in played for span in part]))


def mean(run: Span, spans: Sequence[Span], count: int) -> Span:
    """Return one client-round of a run.

    Args:
        run: All of it.
        spans: The client-rounds that were played, for the peaks, which do not add up.
        count: Client-rounds of the run.
    """
    ends = []
    for name in ("low", "high"):
        values = _vector(getattr(run, name)) * (1 / count)
        values[UNITS.index("bytes_peak")] = np.mean(np.array([getattr(span, name).bytes_peak for span in spans]))
        ends.append(_as_cost(values))
    return Span(ends[0], ends[1], run.loose)


def dearest(spans: Sequence[Span]) -> Span:
    """Return the largest of some ranges, unit by unit."""
    lows, highs = (np.array([_vector(getattr(s, name)) for s in spans]) for name in ("low", "high"))
    return Span(_as_cost(lows.max(axis=0)), _as_cost(highs.max(axis=0)), _loose(spans))


def _loose(spans: Sequence[Span]) -> tuple[str, ...]:
    found = {unit for span in spans for unit in span.loose}
    return tuple(unit for unit in UNITS if unit in found)


def _vector(cost: Cost) -> Floats:
    return np.array([value for _, value in cost.items()])


def _as_cost(values: Floats) -> Cost:
    return Cost(**dict(zip(UNITS, values.tolist(), strict=True)))
