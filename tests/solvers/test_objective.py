from __future__ import annotations

import numpy as np

from fedstrata.solvers.tariff import tariff
from solvers.instances import instance


def test_value_by_hand() -> None:
    problem = instance([[3.0, 2.0], [1.0, 5.0]], [1, 1], consensus=0.5)
    masks = np.array([[True, False], [False, True]])
    assert problem.value(masks) == 8.0 - 0.5 * (1 + 1)


def test_diversity_penalises_the_squared_load() -> None:
    problem = instance([[3.0], [1.0]], [1, 1], diversity=0.5)
    assert problem.value(np.array([[True], [True]])) == 4.0 - 0.5 * 4


def test_marginals_are_differences_of_the_penalty() -> None:
    for weights in ({"consensus": 0.3}, {"diversity": 0.7}):
        problem = instance(np.zeros((4, 1)), [1] * 4, **weights)
        penalty = problem.penalties()
        for others in range(4):
            assert abs(problem.marginals(np.array([float(others)]))[0] + penalty[others + 1] - penalty[others]) < 1e-12


def test_budgets_of_equal_prices_survive_rounding() -> None:
    counts = tariff([0.1 * 3], (1, 3), costs=[0.1] * 3).counts()
    assert counts is not None
    assert counts.tolist() == [3]


def test_what_fits_a_budget_has_no_tolerance() -> None:
    prices, mask = tariff([2.0, np.nextafter(2.0, 0.0)], (2, 2)), np.array([True, True])
    assert [prices.fits(mask, client) for client in (0, 1)] == [True, False]
