"""How far means over seeds can be trusted: bootstrap intervals, paired differences, and when no claim is made.

    interval    BCa bootstrap of the mean (B. Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987)
    p           exact two-sided signed-rank test of the paired differences (F. Wilcoxon, "Individual Comparisons by
                Ranking Methods", Biometrics Bulletin 1, 1945): over all 2^n signs of the differences that are not 0
    effect      d_z = mean / standard deviation of the paired differences (J. Cohen, "Statistical Power Analysis", 1988)
    several     S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6, 1979

With n pairs the smallest p is ``2 / 2^n``: 0.0625 for 5. So with fewer than 6 seeds no p is given and no interval, but
the range of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

K = TypeVar("K")

CONFIDENCE = 0.95
RESAMPLES = 9_999
GENERATOR_SEED = 1987
"""Every interval has its own generator with this seed, so it depends on its own values alone."""

FEWEST_SEEDS = 6
"""Seeds from which on intervals and p-values are given."""

_DIGITS = 12
"""Decimals from which on shares are equal: what differs beyond comes from subtracting floats."""

Kind = Literal["interval", "range", "equal", "single"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, and how far it is known.

    Attributes:
        mean: Of the values.
        low: Lower end.
        high: Upper end.
        count: How many values there are.
        kind: What the ends are: of a confidence interval; of the range of the values, which are too few; of nothing,
            where all values are equal or there is but one.
    """

    mean: float
    low: float
    high: float
    count: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Paired:
    """A method against another over the seeds that both have.

    Attributes:
        seeds: These seeds, ascending.
        difference: Of method minus other, seed by seed.
        median: Of the differences.
        effect: d_z; ``None`` where all differences are equal or there is but one.
        p: Of the signed-rank test; ``None`` with fewer than ``FEWEST_SEEDS`` seeds.
    """

    seeds: tuple[int, ...]
    difference: Estimate
    median: float
    effect: float | None
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of at least one finite value with its interval, or with the range where values are few.

    Example:
        >>> estimate([0.5, 0.75, 1.0])
        Estimate(mean=0.75, low=0.5, high=1.0, count=3, kind='range')
        >>> estimate([0.5] * 6).kind, estimate([0.5]).kind
        ('equal', 'single')
        >>> found = estimate([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        >>> round(found.low, 3), round(found.high, 3), found.kind
        (0.217, 0.483, 'interval')
    """
    found = _rounded(values)
    mean, low, high = float(found.mean()), float(found.min()), float(found.max())
    if low == high:
        return Estimate(low, low, high, len(found), "equal" if len(found) > 1 else "single")
    if len(found) < FEWEST_SEEDS:
        return Estimate(mean, low, high, len(found), "range")
    low, high = _bca(found)
    return Estimate(mean, low, high, len(found), "interval")


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.round(np.asarray(values, dtype=np.float64), _DIGITS), dtype=np.float64)


def _bca(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the BCa interval of the mean of values that are not all equal: for those it is always a number."""
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        random_state=np.random.default_rng(GENERATOR_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def paired(method: Mapping[int, float], other: Mapping[int, float]) -> Paired | None:
    """Compare two methods over the seeds that both have; ``None`` where they share none.

    Args:
        method: Value by seed.
        other: Value by seed.

    Example:
        >>> found = paired({0: 0.5, 1: 0.75, 2: 1.0}, {0: 0.25, 1: 0.25, 3: 1.0})
        >>> found.seeds, found.difference.mean, found.median, found.p
        ((0, 1), 0.375, 0.375, None)
    """
    seeds = tuple(sorted(set(method) & set(other)))
    if not seeds:
        return None
    differences = _rounded([method[seed] - other[seed] for seed in seeds])
    spread = float(np.std(differences, ddof=1)) if len(seeds) > 1 else 0.0
    equal = differences.min() == differences.max()
    return Paired(
        seeds=seeds,
        difference=estimate([float(d) for d in differences]),
        median=float(np.median(differences)),
        effect=None if equal else float(differences.mean()) / spread,
        p=signed_rank(differences) if len(seeds) >= FEWEST_SEEDS else None,
    )


def signed_rank(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the exact two-sided p of Wilcoxon's signed-rank test; zeros are dropped, ties share their mean rank.

    The statistic is the sum of the ranks of the positive differences; its distribution over all signs is counted.

    Example:
        >>> signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), signed_rank([0.0, 0.0])
        (0.03125, 1.0)
    """
    found = _rounded(differences)
    found = found[found != 0]
    doubled = np.rint(2 * stats.rankdata(np.abs(found))).astype(np.int64)  # mean ranks are halves at worst
    ways = np.ones(1)
    for rank in doubled:
        ways = np.append(ways, np.zeros(rank)) + np.append(np.zeros(rank), ways)
    shares = ways / 2.0 ** len(found)
    observed = int(doubled[found > 0].sum())
    return min(1.0, 2 * min(float(shares[: observed + 1].sum()), float(shares[observed:].sum())))


def holm(values: Mapping[K, float]) -> dict[K, float]:
    """Return p-values adjusted for how many there are: the k-th smallest of m times m - k + 1, never descending.

    Example:
        >>> holm({"a": 0.25, "b": 0.125, "c": 0.03125})
        {'a': 0.25, 'b': 0.25, 'c': 0.09375}
    """
    adjusted: dict[K, float] = {}
    largest = 0.0
    for place, key in enumerate(sorted(values, key=lambda k: values[k])):
        largest = max(largest, min(1.0, values[key] * (len(values) - place)))
        adjusted[key] = largest
    return {key: adjusted[key] for key in values}


def smallest_p(pairs: int) -> float:
    """Return the smallest p that the signed-rank test of so many pairs can have.

    Example:
        >>> smallest_p(5), smallest_p(6)
        (0.0625, 0.03125)
    """
    return 2.0 / 2.0**pairs
