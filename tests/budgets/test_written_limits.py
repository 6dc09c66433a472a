"""Limits in several units at once, shares of full fine-tuning, tables and machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.budgets.device import Device
from fedstrata.budgets.fixed import Fixed
from fedstrata.budgets.half_normal import HalfNormal
from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.table import PerClient
from fedstrata.domain.cost import Cost
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError

A, B = ClientId("a"), ClientId("b")
PHONE = DeviceProfile(forward=1, carry=1, weight=1, update=1, memory=4e9, name="phone")


def full(client: ClientId) -> Cost:
    return Cost(layers=12, flops=1000, bytes_up=400 if client == A else 800, bytes_peak=5e9, seconds=float("nan"))


STICK = FullCost(full, {A: PHONE})


def test_limits_hold_together_and_shares_are_of_the_clients_own_full_fine_tuning() -> None:
    found = Fixed(layers=3, bytes_up="25%", bytes_peak="2 GB").assign([A, B], Seeds(0), STICK)
    assert found[A] == Cost.limits(layers=3, bytes_up=100, bytes_peak=2e9)
    assert found[B].bytes_up == 200


def test_a_share_of_what_is_not_known_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"10% of the seconds.*client's device profile.*bench client"):
        Fixed(seconds="10%").assign([A], Seeds(0), STICK)


def test_a_budget_without_limits_is_refused() -> None:
    with pytest.raises(BudgetError, match="limits nothing"):
        Fixed()


def test_a_law_in_any_unit() -> None:
    found = HalfNormal(low=1, high=3, unit="bytes_up", each="10%").assign([A], Seeds(0), STICK)
    assert found[A].bytes_up in {40.0, 80.0, 120.0}
    assert found[A].layers == float("inf")


def test_a_table_by_client_and_unit() -> None:
    rule = PerClient(clients={"a": {"seconds": "1 min", "layers": 2}}, default={"bytes_up": "50%"})
    found = rule.assign([A, B], Seeds(0), STICK)
    assert (found[A], found[B]) == (Cost.limits(seconds=60, layers=2), Cost.limits(bytes_up=400))


def test_a_misspelt_unit_in_a_table_names_client_and_nearest_unit() -> None:
    with pytest.raises(BudgetError, match=r"client 'a' limits 'second'.*did you mean 'seconds'"):
        PerClient(clients={"a": {"second": 3}})


def test_a_csv_file_of_budgets(tmp_path: Path) -> None:
    path = tmp_path / "budgets.csv"
    path.write_text("client,bytes_peak,layers\na,4 GB,\nb,50%,2\n", encoding="utf-8")
    found = PerClient(file=path).assign([A, B], Seeds(0), STICK)
    assert (found[A], found[B]) == (Cost.limits(bytes_peak=4e9), Cost.limits(bytes_peak=2.5e9, layers=2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,layers\na,1\n", "no column 'client'"),
        ("client,layers\na,1\na,2\n", "csv:3 lists client 'a' a second time"),
        ("client,layers\na,many\n", "csv:2 has layers: 'many', which is not a number"),
        ("client,layer\na,1\n", "did you mean 'layers'"),
        ("client,layers\na,1,2\n", "csv:2 has another number of cells"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BudgetError, match=words):
        PerClient(file=path).assign([A], Seeds(0), STICK)


def test_a_csv_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="cannot read the budgets"):
        PerClient(file=tmp_path / "none.csv").assign([A], Seeds(0), STICK)


def test_clients_or_file_not_both_and_not_neither() -> None:
    for options in ({}, {"clients": {"a": 1}, "file": Path("x.csv")}):
        with pytest.raises(BudgetError, match="one of them"):
            PerClient(**options)  # type: ignore[arg-type]


def test_a_machine_sets_the_limits() -> None:
    assert Device(memory="75%", seconds=90).assign([A], Seeds(0), STICK)[A] == Cost.limits(bytes_peak=3e9, seconds=90)
    assert Device(memory="1 GB").assign([A], Seeds(0), STICK)[A].bytes_peak == 1e9


def test_a_client_without_machine_is_refused() -> None:
    with pytest.raises(BudgetError, match="machine of client 'b'; add it to devices"):
        Device().assign([A, B], Seeds(0), STICK)


def test_a_machine_of_unknown_memory_is_refused() -> None:
    bare = DeviceProfile(forward=1, carry=1, weight=1, update=1, name="bare")
    with pytest.raises(BudgetError, match="'bare' of client 'a' has no memory"):
        Device().assign([A], Seeds(0), FullCost(full, {A: bare}))
