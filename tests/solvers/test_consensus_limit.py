from __future__ import annotations

from itertools import permutations
from math import inf

import numpy as np
import pytest

from fedstrata.solvers import solve


def test_equal_budgets_take_the_layers_of_largest_summed_score() -> None:
    solution = solve([[5.0, 0.0, 1.0, 0.0], [0.0, 3.0, 3.0, 0.0]], [2, 2], consensus=inf)
    assert solution.masks.astype(int).tolist() == [[1, 0, 1, 0]] * 2
    assert solution.objective == 9.0
    assert solution.rule == "common"
    assert 9.0 <= solution.bound <= 9.0 + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_unequal_budgets_take_the_best_nested_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, budgets = rng.exponential(size=(4, 5)), rng.integers(0, 5, size=4)
    solution = solve(scores, budgets, consensus=inf)
    orders = [list(order) for order in permutations(range(5))]
    best = max(sum(scores[i, order[: budgets[i]]].sum() for i in range(4)) for order in orders)
    assert solution.objective == pytest.approx(best)
    assert solution.bound >= best - 1e-12
    assert solution.masks.sum(axis=1).tolist() == budgets.tolist()


def test_no_other_way_to_spend_the_budgets_disagrees_less() -> None:
    rng = np.random.default_rng(0)
    scores, budgets = rng.exponential(size=(4, 5)), np.array([1, 2, 2, 4])
    loads = solve(scores, budgets, consensus=inf).masks.sum(axis=0)
    for _ in range(300):
        other = np.argsort(rng.random(size=(4, 5)), axis=1) < budgets[:, None]
        rival = other.sum(axis=0)
        assert (loads * (4 - loads)).sum() <= (rival * (4 - rival)).sum()


def test_other_costs_take_prefixes_of_the_common_ranking_without_a_certificate() -> None:
    solution = solve([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1.0, 3.5], costs=[1.0, 2.0, 1.0], consensus=inf)
    assert solution.masks.astype(int).tolist() == [[1, 0, 0], [1, 1, 0]]
    assert (solution.rule, solution.bound, solution.gap) == ("common-prefix", inf, inf)


def test_ties_go_to_the_lower_layer() -> None:
    assert solve(np.ones((2, 3)), [1, 1], consensus=inf).masks.astype(int).tolist() == [[1, 0, 0]] * 2
