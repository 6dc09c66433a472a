from __future__ import annotations

import pytest

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.table import PerClient
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError

CLIENTS = [ClientId("hospital_1"), ClientId("hospital_2")]


def test_listed_clients_get_their_entry_and_the_rest_the_default() -> None:
    budgets = PerClient(clients={"hospital_2": 3}, default=1).assign(CLIENTS, Seeds(0), FullCost())
    assert [budgets[c].layers for c in CLIENTS] == [1.0, 3.0]


def test_a_name_that_is_no_client_is_an_error_with_the_nearest() -> None:
    with pytest.raises(BudgetError, match=r"hospitl_1.*did you mean 'hospital_1'"):
        PerClient(clients={"hospitl_1": 3}, default=1).assign(CLIENTS, Seeds(0), FullCost())


def test_a_client_without_entry_and_default_is_an_error_with_the_nearest() -> None:
    with pytest.raises(BudgetError, match=r"'hospital_2' and no default.*'hospital_1'"):
        PerClient(clients={"hospital_1": 3}).assign(CLIENTS, Seeds(0), FullCost())


@pytest.mark.parametrize(("layers", "default"), [({"hospital_1": -1}, None), ({}, -2)])
def test_negative_budgets_are_refused(layers: dict[str, int], default: int | None) -> None:
    with pytest.raises(BudgetError, match="0 or more"):
        PerClient(clients=layers, default=default)
