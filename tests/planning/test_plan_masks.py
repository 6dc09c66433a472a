from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.cost import Cost
from fedstrata.domain.layers import Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.units import UNITS
from fedstrata.planning import masks as plan_masks
from fedstrata.planning.masks import Affordable, affordable

ROWS = ("layers", "flops", "bytes_peak", "bytes_peak")


def masks(layers: Sequence[int]) -> Iterator[Mask]:
    """Yield every mask with a layer."""
    for size in range(1, len(layers) + 1):
        yield from map(frozenset, combinations(layers, size))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Prices, Cost, tuple[int, ...]]:
    """Return monotone prices in three units, one of them with two rows, a budget, and the layers to choose from."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 6))
    same = draw(st.booleans())
    each = np.repeat(rng.integers(1, 9, (4, 1)), count, axis=1) if same else rng.integers(0, 9, (4, count))
    each[0], steps = 1, rng.integers(0, 5, (4, count))
    steps[0] = 0
    setup = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    prices = Prices(ROWS, np.array([0.0, 3.0, 2.0, 5.0]), setup.astype(float), each.astype(float))
    full = prices.of(frozenset(range(count)))
    limits = {u: draw(st.integers(0, int(getattr(full, u)) + 1)) for u in set(ROWS) if draw(st.booleans())}
    chosen = tuple(sorted(draw(st.sets(st.integers(0, count - 1), min_size=1))))
    return prices, Cost.limits(**limits), chosen


def by_trying(prices: Prices, budget: Cost, layers: Sequence[int]) -> list[tuple[Mask, Cost]]:
    found = ((mask, prices.of(mask)) for mask in masks(layers))
    return [(mask, price) for mask, price in found if price.fits(budget)]


def check_common(found: Affordable, tried: list[tuple[Mask, Cost]], layers: Sequence[int]) -> None:
    fitting = {mask for mask, _ in tried}
    assert found.singles == tuple(i for i in layers if {i} in fitting)
    tails = [n for n in range(1, len(layers) + 1) if frozenset(layers[-n:]) in fitting]
    assert found.top == max(tails, default=0)
    if not tried:
        assert (found.most, found.cheapest, found.dearest) == (0, None, None)
        return
    assert found.cheapest is not None
    for unit in set(ROWS):
        assert getattr(found.cheapest, unit) == min(getattr(price, unit) for _, price in tried)


@given(problems())
def test_few_layers_are_exact(problem: tuple[Prices, Cost, tuple[int, ...]]) -> None:
    prices, budget, layers = problem
    found, tried = affordable(prices, budget, layers), by_trying(prices, budget, layers)
    check_common(found, tried, layers)
    assert found.loose == ()
    assert found.most_exact
    if tried:
        assert found.dearest is not None
        assert found.most == max(len(mask) for mask, _ in tried)
        for unit in set(ROWS):
            assert getattr(found.dearest, unit) == pytest.approx(max(getattr(p, unit) for _, p in tried))


@given(problems())
def test_many_layers_are_bounded_and_what_is_called_exact_is(problem: tuple[Prices, Cost, tuple[int, ...]]) -> None:
    prices, budget, layers = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_masks, "ENUMERATED", 0)
        found = affordable(prices, budget, layers)
    tried = by_trying(prices, budget, layers)
    check_common(found, tried, layers)
    if not tried:
        return
    most = max(len(mask) for mask, _ in tried)
    assert found.most == most if found.most_exact else found.most <= most
    assert found.dearest is not None
    for unit in set(ROWS):
        dearest = max(getattr(price, unit) for _, price in tried)
        if unit in found.loose:
            assert getattr(found.dearest, unit) >= dearest - 1e-9
        else:
            assert getattr(found.dearest, unit) == pytest.approx(dearest)


def test_thirty_two_equal_layers_are_exact() -> None:
    setup = np.arange(31.0, -1.0, -1.0)[None]
    prices = Prices(("flops", "layers"), np.array([10.0, 0.0]), np.vstack([setup, 0 * setup]), np.ones((2, 32)))
    found = affordable(prices, Cost.limits(flops=16.0), range(32))
    # with lowest layer l: 10 + (31 - l) + number of layers <= 16, so l >= 26; from layer 28 on all four cost 17
    assert found.singles == tuple(range(26, 32))
    assert (found.top, found.most, found.most_exact, found.loose) == (3, 3, True, ())
    assert found.dearest is not None
    assert (found.dearest.flops, found.dearest.layers) == (16.0, 3.0)


def test_a_unit_without_price_stays_unknown_and_cannot_be_limited() -> None:
    prices = Prices(("layers",), np.zeros(1), np.zeros((1, 2)), np.ones((1, 2)))
    found = affordable(prices, Cost.limits(layers=1), range(2))
    assert found.dearest is not None
    assert all(isnan(getattr(found.dearest, unit)) for unit in UNITS if unit != "layers")
    assert affordable(prices, Cost.limits(flops=9e9), range(2)).singles == ()
