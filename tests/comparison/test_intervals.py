"""Intervals and tests over seeds: against scipy, against enumeration, and where there are too few seeds for a claim."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedstrata.comparison.intervals import FEWEST_SEEDS, estimate, holm, paired, signed_rank, smallest_p

SKEWED = [0.60, 0.61, 0.61, 0.62, 0.64, 0.70]


def test_an_interval_is_that_of_the_exact_bootstrap_distribution() -> None:
    """BCa by hand: all 6^6 resamples, z0 from the share of means below, a from the jackknife."""
    values = np.array(SKEWED)
    means = np.sort(values[np.array(list(product(range(6), repeat=6)))].mean(axis=1).round(12))
    mean = values.mean()
    below = (np.sum(means < mean - 1e-9) + np.sum(means < mean + 1e-9)) / 2 / len(means)
    z0 = stats.norm.ppf(below)
    left_out = np.array([np.delete(values, i).mean() for i in range(6)])
    around = left_out.mean() - left_out
    a = np.sum(around**3) / (6 * np.sum(around**2) ** 1.5)
    ends = []
    for z in stats.norm.ppf([0.025, 0.975]):
        share = stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
        ends.append(np.quantile(means, share))
    found = estimate(SKEWED)
    assert found.kind == "interval"
    assert (found.low, found.high) == pytest.approx(ends, abs=0.0015)
    assert found.mean == pytest.approx(0.63)
    assert found.high - found.mean > found.mean - found.low, "the tail is on the right"


def test_the_same_values_have_the_same_interval_whatever_came_before() -> None:
    first = estimate(SKEWED)
    estimate([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert estimate(SKEWED) == first


@pytest.mark.parametrize(
    ("values", "kind", "ends"),
    [
        ([0.5], "single", (0.5, 0.5)),
        ([0.5, 0.5], "equal", (0.5, 0.5)),
        ([0.25, 0.5, 0.5, 0.5, 0.75], "range", (0.25, 0.75)),
        ([0.3] * 8, "equal", (0.3, 0.3)),
    ],
)
def test_values_that_allow_no_interval_say_so(values: list[float], kind: str, ends: tuple[float, float]) -> None:
    found = estimate(values)
    assert (found.kind, found.low, found.high, found.count) == (kind, *ends, len(values))


def test_pairs_are_of_the_seeds_that_both_have() -> None:
    method = {seed: 0.5 + 0.01 * seed for seed in range(8)}
    other = dict.fromkeys(range(1, 9), 0.5)
    found = paired(method, other)
    assert found is not None
    assert found.seeds == (1, 2, 3, 4, 5, 6, 7)
    assert found.difference.mean == pytest.approx(0.04)
    assert found.median == pytest.approx(0.04)
    assert found.effect == pytest.approx(0.04 / (0.01 * sqrt(28 / 6)))
    assert found.p == 2 / 2**7
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_fewer_than_six_pairs_make_no_claim() -> None:
    five = paired({s: 0.9 + s / 100 for s in range(5)}, dict.fromkeys(range(5), 0.1))
    six = paired({s: 0.9 + s / 100 for s in range(6)}, dict.fromkeys(range(6), 0.1))
    assert five is not None
    assert six is not None
    assert (five.p, five.difference.kind) == (None, "range")
    assert (six.p, six.difference.kind) == (0.03125, "interval")
    assert smallest_p(FEWEST_SEEDS - 1) > 0.05 > smallest_p(FEWEST_SEEDS)


def test_differences_that_are_equal_but_for_rounding_are_equal() -> None:
    method, other = {s: 0.1 * s + 0.1 for s in range(6)}, {s: 0.1 * s for s in range(6)}
    assert len({method[s] - other[s] for s in range(6)}) > 1, "the floats differ"
    found = paired(method, other)
    assert found is not None
    assert (found.difference.kind, found.difference.mean, found.effect, found.p) == ("equal", 0.1, None, 0.03125)


def test_a_method_against_itself_differs_in_nothing() -> None:
    same = {s: 0.1 * s for s in range(6)}
    found = paired(same, same)
    assert found is not None
    assert (found.difference.mean, found.effect, found.p) == (0.0, None, 1.0)


@given(st.lists(st.floats(-1, 1).filter(lambda v: abs(v) > 1e-9), min_size=6, max_size=12, unique_by=abs))
def test_without_ties_p_is_scipys(differences: list[float]) -> None:
    rounded = [round(d, 12) for d in differences]
    if len({abs(d) for d in rounded}) == len(rounded):
        assert signed_rank(differences) == pytest.approx(stats.wilcoxon(rounded, method="exact").pvalue)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_with_ties_and_zeros_p_is_that_of_all_signs(differences: list[int]) -> None:
    kept = np.array([d for d in differences if d])
    ranks = stats.rankdata(np.abs(kept))
    observed = ranks[kept > 0].sum()
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in product((0, 1), repeat=len(kept))]
    low = sum(s <= observed + 1e-9 for s in sums) / len(sums)
    high = sum(s >= observed - 1e-9 for s in sums) / len(sums)
    assert signed_rank([d / 100 for d in differences]) == pytest.approx(min(1.0, 2 * min(low, high)))


def test_holm_multiplies_the_smallest_most_and_never_descends() -> None:
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.5}) == pytest.approx(
        {"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.5}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@given(st.dictionaries(st.integers(), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_the_order(values: dict[int, float]) -> None:
    adjusted = holm(values)
    assert all(values[k] <= adjusted[k] <= 1 for k in values)
    order = sorted(values, key=lambda k: values[k])
    assert [adjusted[k] for k in order] == sorted(adjusted.values())
