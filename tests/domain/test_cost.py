from __future__ import annotations

from math import nan

import numpy as np
import pytest

from fedstrata.domain.cost import Cost, spread
from fedstrata.domain.prices import Prices


def test_every_unit_has_to_fit() -> None:
    budget = Cost.limits(layers=2, bytes_peak=100)
    assert Cost(layers=2, bytes_peak=100, flops=1e18).fits(budget)
    assert Cost(layers=3, bytes_peak=101).over(budget) == ("layers", "bytes_peak")


def test_what_was_not_measured_fits_no_limit_and_every_absence_of_one() -> None:
    assert Cost(flops=nan).fits(Cost.unlimited())
    assert Cost(flops=nan).over(Cost.limits(flops=1e300)) == ("flops",)


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (Cost(layers=2, flops=nan), "2 layers"),
        (Cost(), "nothing"),
        (Cost.limits(seconds=90), "90.0 s"),
        (Cost.limits(layers=0), "0 layers"),
    ],
)
def test_costs_and_budgets_as_people_read_them(cost: Cost, words: str) -> None:
    assert str(cost) == words


def test_budgets_of_many_clients_in_one_line() -> None:
    budgets = [Cost.limits(layers=1, seconds=5), Cost.limits(layers=4)]
    assert spread(budgets) == "1 layer to 4 layers, 5 s to no limit"


def test_a_unit_with_several_rows_costs_their_largest() -> None:
    prices = Prices(
        ("bytes_peak", "bytes_peak"), np.array([10.0, 12.0]), np.zeros((2, 2)), np.array([[5.0, 5.0], [1.0, 1.0]])
    )
    assert [prices.of(frozenset(m)).bytes_peak for m in ((), (0,), (0, 1))] == [12, 15, 20]


def test_a_budget_has_room_left_after_the_empty_mask() -> None:
    prices = Prices(("flops",), np.array([6.0]), np.zeros((1, 2)), np.ones((1, 2)))
    assert prices.room(Cost.limits(flops=10)).tolist() == [4.0]
