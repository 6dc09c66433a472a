from __future__ import annotations

from math import inf

import numpy as np
import pytest

from fedstrata.errors import BudgetError, ConfigError
from fedstrata.solvers.tariff import tariff


def test_units_are_broadcast() -> None:
    prices = tariff(np.ones((3, 2)), (2, 4), costs=np.ones(4), setups=np.ones((2, 4)))
    assert (prices.costs.shape, prices.setups.shape, prices.budgets.shape) == ((3, 2, 4), (3, 2, 4), (3, 2))


def test_what_fits_has_no_tolerance() -> None:
    mask = np.array([False, True, True])
    assert tariff([3.0], (1, 3), setups=[9.0, 1.0, 0.0]).fits(mask, 0)
    assert not tariff([np.nextafter(3.0, 0.0)], (1, 3), setups=[9.0, 1.0, 0.0]).fits(mask, 0)


def test_an_empty_mask_is_free() -> None:
    assert tariff([0.0], (1, 2), setups=[5.0, 5.0]).fits(np.zeros(2, dtype=np.bool_), 0)


def test_counts_are_the_least_over_units() -> None:
    counts = tariff([[4.0, inf], [9.0, 5.0]], (2, 6), costs=np.ones(6)).counts()
    assert counts is not None
    assert counts.tolist() == [4.0, 5.0]


def test_a_set_up_beyond_the_budget_leaves_nothing() -> None:
    counts = tariff([2.0], (1, 3), setups=[3.0, 3.0, 3.0]).counts()
    assert counts is not None
    assert counts.tolist() == [0.0]


@pytest.mark.parametrize("prices", [{"costs": [1.0, 2.0]}, {"setups": [1.0, 0.0]}])
def test_budgets_that_do_not_count_layers(prices: dict[str, list[float]]) -> None:
    assert tariff([2.0], (1, 2), **prices).counts() is None
    assert tariff([9.0], (1, 2), **prices).counts() is not None


def test_scaled_prices_leave_out_what_cannot_bind() -> None:
    prices = tariff([[2.0, 9.0], [99.0, 99.0]], (2, 2), costs=[1.0, 2.0], setups=[1.0, 0.0])
    costs, setups = prices.scaled()
    assert costs.tolist() == [[[0.5, 1.0]], [[0.0, 0.0]]]
    assert setups.tolist() == [[[0.5, 0.0]], [[0.0, 0.0]]]


def test_a_budget_of_nothing_pays_only_for_what_is_free() -> None:
    costs, _ = tariff([0.0], (1, 3), costs=[0.0, 1e-300, 5.0]).scaled()
    assert costs.tolist() == [[[0.0, 2.0, 2.0]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"costs": np.ones((2, 3))}, r"costs have shape \(2, 3\); expected \(2,\), \(1, 2\) or \(units, 1, 2\)"),
        ({"setups": [-1.0, 0.0]}, "setups hold -1.0 at unit 0, client 0, layer 0"),
        ({"costs": np.ones((3, 1, 2)), "setups": np.ones((2, 1, 2))}, "budgets have 1, costs have 3, setups have 2"),
    ],
)
def test_bad_prices_are_one_sentence(arguments: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tariff([1.0], (1, 2), **arguments)


@pytest.mark.parametrize("budgets", [[1.0, 2.0], [[1.0], [-1.0]], [[float("nan")]], 1.0, np.ones((1, 1, 1))])
def test_bad_budgets_are_refused(budgets: list[float]) -> None:
    with pytest.raises(BudgetError, match="budget"):
        tariff(budgets, (1, 2))
