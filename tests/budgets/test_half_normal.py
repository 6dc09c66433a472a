from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.budgets.half_normal import HalfNormal
from fedstrata.budgets.protocol import FullCost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError

CLIENTS = [ClientId(f"c{i}") for i in range(4000)]


def test_support_is_exactly_low_to_high() -> None:
    budgets = HalfNormal(low=1, high=4).assign(CLIENTS, Seeds(0), FullCost())
    assert {cost.layers for cost in budgets.values()} == {1.0, 2.0, 3.0, 4.0}


def test_histogram_follows_the_stated_law() -> None:
    rule = HalfNormal(low=1, high=4)
    counts = Counter(int(cost.layers) for cost in rule.assign(CLIENTS, Seeds(0), FullCost()).values())
    for budget, probability in enumerate(rule.probabilities(), start=1):
        assert abs(counts[budget] / len(CLIENTS) - probability) < 0.03


def test_a_draw_depends_on_the_seed_and_the_name_alone() -> None:
    rule = HalfNormal(low=1, high=4)
    alone = {c: rule.assign([c], Seeds(7), FullCost())[c] for c in CLIENTS[:50]}
    assert rule.assign(CLIENTS[49::-1], Seeds(7), FullCost()) == alone
    assert rule.assign(CLIENTS[:50], Seeds(8), FullCost()) != alone


@given(low=st.integers(0, 5), width=st.integers(0, 20), factor=st.floats(0.25, 10))
def test_every_budget_has_positive_probability_falling_from_low_to_high(low: int, width: int, factor: float) -> None:
    for scale in (None, factor * width + 0.25):
        law = HalfNormal(low=low, high=low + width, scale=scale).probabilities()
        assert len(law) == width + 1
        assert abs(sum(law) - 1) < 1e-12
        assert law[-1] > 0
        assert list(law) == sorted(law, reverse=True)


def test_one_value_is_always_drawn() -> None:
    assert HalfNormal(low=3, high=3).assign(CLIENTS[:1], Seeds(0), FullCost())[CLIENTS[0]].layers == 3.0


@pytest.mark.parametrize(
    ("low", "high", "scale", "message"),
    [(-1, 2, None, "low: -1"), (3, 2, None, "below low"), (1, 9, 0.5, "at least 2"), (1, 1, 0.0, "above 0")],
)
def test_bad_laws_are_refused(low: int, high: int, scale: float | None, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        HalfNormal(low=low, high=high, scale=scale)
