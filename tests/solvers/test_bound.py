from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.solvers.bound import evaluate, first_prices, load_values, lower
from solvers.instances import instance


def test_dual_at_hand_checked_prices() -> None:
    problem = instance([[3.0, 1.0], [2.0, 2.0]], [1, 1], consensus=1.0)
    # layer 0: k=0: 0, k=1: 2 - 1 = 1, k=2: 2 + 1 - 0 = 3; layer 1: k=1: 1 - 1, k=2: 1 + 0; plus prices 1 + 1
    dual = evaluate(problem, np.ones(2))
    assert abs(dual.bound - (2 + 3 + 1)) < 1e-9
    assert dual.loads.tolist() == [2.0, 2.0]
    assert dual.spent.tolist() == [2.0, 2.0]


@given(seed=st.integers(0, 10**6), diverse=st.booleans())
def test_the_dual_bounds_every_feasible_answer_at_any_prices(seed: int, diverse: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = {"diversity": 0.3} if diverse else {"consensus": 0.3}
    problem = instance(rng.normal(size=(5, 4)), rng.integers(0, 4, size=5), **weights)
    masks = rng.random(size=(5, 4)) < 0.4
    masks &= np.cumsum(masks, axis=1) <= problem.budgets[:, None]
    assert evaluate(problem, rng.exponential(size=5)).bound >= problem.value(masks)


def test_identical_clients_share_a_layer_that_only_some_of_them_take() -> None:
    problem = instance(np.ones((4, 1)), [1] * 4, diversity=0.25)
    dual = evaluate(problem, np.zeros(4))
    assert dual.spent.sum() == dual.loads.sum()
    assert len(set(dual.spent.tolist())) == 1


def test_the_descent_never_ends_above_its_start() -> None:
    rng = np.random.default_rng(0)
    problem = instance(rng.exponential(size=(30, 8)), rng.integers(1, 4, size=30), consensus=0.05)
    start = np.full(30, 0.5)
    low = lower(problem, start, 0.0, steps=100)
    assert low.bound <= evaluate(problem, start).bound
    assert (low.prices >= 0).all()


def test_first_prices_are_zero_where_a_budget_is_not_used_up() -> None:
    problem = instance([[2.0, -1.0]], [2])
    assert first_prices(problem, np.array([[True, False]])).tolist() == [0.0]


def test_load_values_sum_to_the_bound_without_the_price_term() -> None:
    problem = instance([[3.0, 1.0], [2.0, 2.0]], [1, 1], consensus=1.0)
    table, bound = load_values(problem, np.zeros(2))
    assert table.tolist() == [[0.0, 2.0, 5.0], [0.0, 1.0, 3.0]]
    assert abs(bound - 8.0) < 1e-9
