"""What every budget rule owes its callers."""

from __future__ import annotations

import pytest

from fedstrata.budgets.fixed import Fixed
from fedstrata.budgets.half_normal import HalfNormal
from fedstrata.budgets.protocol import Budget, FullCost
from fedstrata.budgets.table import PerClient
from fedstrata.budgets.unlimited import Unlimited
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds

BUDGETS: list[Budget] = [
    Fixed(layers=2),
    Fixed(layers=0),
    Unlimited(),
    HalfNormal(low=1, high=4),
    HalfNormal(low=0, high=2, scale=1.0),
    PerClient(clients={"c1": 3}, default=1),
]
CLIENTS = [ClientId(f"c{i}") for i in range(12)]


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_one_budget_of_zero_or_more_per_client(budget: Budget) -> None:
    assigned = budget.assign(CLIENTS, Seeds(1), FullCost())
    assert set(assigned) == set(CLIENTS)
    assert all(cost.layers >= 0 for cost in assigned.values())


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_defect_12_same_seed_same_budgets_in_any_order(budget: Budget) -> None:
    assert budget.assign(CLIENTS, Seeds(1), FullCost()) == budget.assign(CLIENTS[::-1], Seeds(1), FullCost())


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_another_client_does_not_change_a_client_s_budget(budget: Budget) -> None:
    few = budget.assign(CLIENTS[:2], Seeds(1), FullCost())
    many = budget.assign(CLIENTS, Seeds(1), FullCost())
    assert all(many[client] == cost for client, cost in few.items())
