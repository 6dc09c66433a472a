from __future__ import annotations

import pytest

from fedstrata.budgets.fixed import Fixed
from fedstrata.budgets.protocol import FullCost
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError


def test_everybody_gets_the_same() -> None:
    budgets = Fixed(layers=2).assign([ClientId("b"), ClientId("a")], Seeds(1), FullCost())
    assert budgets == {"a": Cost.limits(layers=2.0), "b": Cost.limits(layers=2.0)}


def test_negative_is_refused() -> None:
    with pytest.raises(BudgetError, match="layers: -1"):
        Fixed(layers=-1)
