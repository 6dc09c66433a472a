from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.solvers import knapsack as module
from fedstrata.solvers.knapsack import greedy, greedy_rows, knapsack


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 9))
def test_equals_brute_force(seed: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    values, costs = rng.normal(0.5, 1, size=layers), rng.uniform(0.1, 2, size=layers)
    budget = float(rng.uniform(0, 5))
    every = np.array(list(product([0.0, 1.0], repeat=layers)))
    best = (every @ values)[every @ costs <= budget].max()
    packed = knapsack(values, costs, budget)
    assert abs(packed.value - best) < 1e-9
    assert packed.bound >= best
    assert (costs * packed.mask).sum() <= budget


def test_a_hundred_items_are_packed_exactly_and_the_bound_says_so() -> None:
    rng = np.random.default_rng(0)
    values, costs = rng.exponential(size=100), rng.uniform(0.5, 2, size=100)
    packed = knapsack(values, costs, 30.0)
    assert (costs * packed.mask).sum() <= 30.0
    assert packed.bound - packed.value <= 1e-9


def test_dropped_partial_masks_show_in_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2)
    rng = np.random.default_rng(1)
    costs = rng.uniform(1, 2, size=30)
    values = costs + rng.uniform(0, 0.01, size=30)
    exact_bound = 20.0 * (values / costs).max()
    packed = knapsack(values, costs, 20.0)
    assert packed.value < packed.bound <= exact_bound


def test_rows_agree_with_one_row_at_a_time() -> None:
    rng = np.random.default_rng(2)
    values, costs = rng.normal(size=(2, 5, 7)), rng.uniform(0.1, 1, size=(5, 7))
    budgets = rng.uniform(0, 3, size=5)
    masks = greedy_rows(values, costs, budgets)
    for batch in range(2):
        for client in range(5):
            alone = greedy(values[batch, client], costs[client], float(budgets[client]))
            np.testing.assert_array_equal(masks[batch, client], alone)
