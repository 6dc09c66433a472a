from __future__ import annotations

from dataclasses import replace

from fedstrata.cli.plan_clients import client_rows
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.planning.masks import Affordable
from fedstrata.planning.plan import Means

ONE = Affordable((4, 5), 2, 2, most_exact=True, cheapest=Cost(flops=4), dearest=Cost(flops=6))


def client(number: int, budget: float, masks: Affordable = ONE) -> Means:
    return Means(ClientId(f"c{number}"), 10, Cost.limits(flops=budget), masks, Cost(flops=2), Cost(flops=9))


def test_equal_clients_share_a_row() -> None:
    rows = list(client_rows([client(i, 6) for i in range(10)]))
    assert rows == [("c0 to c9 (10 clients)", "6 FLOP", "2 FLOP", "9 FLOP, over", "2: 4-5", "4", "2", "2")]


def test_a_client_without_a_layer_is_marked() -> None:
    nothing = Affordable((), 0, 0, most_exact=True, cheapest=None, dearest=None)
    rows = list(client_rows([client(0, 3, nothing), client(1, 9)]))
    assert rows[0][4:] == ("none: head-only", "-", "0", "0")
    assert rows[1][3] == "9 FLOP"


def test_of_many_different_clients_three_are_shown() -> None:
    rows = list(client_rows([client(i, 20 - i) for i in range(9)]))
    assert [row[0] for row in rows] == ["poorest: c8", "median: c4", "richest: c0", "... 6 more, --json has all"]


def test_a_mask_that_is_not_proven_largest_is_a_lower_bound() -> None:
    rows = list(client_rows([client(0, 6, replace(ONE, most_exact=False))]))
    assert rows[0][-1] == ">= 2"
