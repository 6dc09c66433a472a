"""What every budget rule owes its callers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from every_kind import every
from fedstrata.budgets.protocol import Budget, FullCost
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from price_lists import PHONE

BUDGETS: list[Budget] = every(
    "budget",
    {"kind": "fixed", "layers": 0},
    {"kind": "fixed", "bytes_up": "25%"},
    {"kind": "half-normal", "low": 0, "high": 2, "scale": 1.0},
)
CLIENTS = [ClientId(f"c{i}") for i in range(12)]
FULL = FullCost(
    lambda client: Cost(layers=12, flops=1e9, bytes_up=4e6, bytes_down=4e6, bytes_peak=1e8, seconds=2),
    {client: replace(PHONE, memory=4e9) for client in CLIENTS},
)


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_one_budget_of_zero_or_more_per_client(budget: Budget) -> None:
    assigned = budget.assign(CLIENTS, Seeds(1), FULL)
    assert set(assigned) == set(CLIENTS)
    assert all(cost.layers >= 0 for cost in assigned.values())


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_same_seed_same_budgets_in_any_order(budget: Budget) -> None:
    assert budget.assign(CLIENTS, Seeds(1), FULL) == budget.assign(CLIENTS[::-1], Seeds(1), FULL)


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_another_client_does_not_change_a_client_s_budget(budget: Budget) -> None:
    few = budget.assign(CLIENTS[:2], Seeds(1), FULL)
    many = budget.assign(CLIENTS, Seeds(1), FULL)
    assert all(many[client] == cost for client, cost in few.items())
