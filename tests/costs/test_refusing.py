"""Prices in which nobody can pay for what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import pytest

from fedstrata.costs.layer_count import counted
from fedstrata.costs.measured import Measured
from fedstrata.costs.protocol import Facts, Workload
from fedstrata.costs.refusing import Refusing, within
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices
from fedstrata.wire.messages import ProbePlan, TrainPlan
from price_lists import LAYERS, profile

A, B = ClientId("a"), ClientId("b")


@dataclass(frozen=True)
class Free:
    """A cost of somebody's own that prices bytes alone."""

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        return Prices(("bytes_up",), np.array([7.0]), np.zeros((1, 3)), np.full((1, 3), 2.0))


def test_a_refused_layer_costs_more_layers_than_there_are() -> None:
    prices = Refusing(counted(4), {A: frozenset({1, 3})}).prices(A, ClientRound())
    costs = {mask: prices.of(frozenset(mask)).layers for mask in ((), (0,), (0, 2), (1,), (0, 3), (1, 3))}
    assert costs == {(): 0, (0,): 1, (0, 2): 2, (1,): 5, (0, 3): 6, (1, 3): 10}


def test_clients_that_refuse_nothing_have_their_prices() -> None:
    inner = counted(4)
    priced = Refusing(inner, {A: frozenset({1}), B: frozenset()})
    assert priced.prices(B, ClientRound()) is inner.prices(B, ClientRound())
    assert priced.prices(ClientId("c"), ClientRound()) is inner.prices(B, ClientRound())


def test_other_units_cost_what_they_did() -> None:
    facts = Facts(
        layers=LAYERS,
        train=TrainPlan(),
        probe=ProbePlan(),
        workloads={A: Workload(((4, None),), ((4, None),))},
        profiles=lambda: (profile(),),
        parameter_bytes=404,
    )
    inner = Measured().bind(facts)
    plain, priced = (p.prices(A, ClientRound(1, 9)) for p in (inner, Refusing(inner, {A: frozenset({2})})))
    assert priced.units == plain.units
    for mask in (frozenset[int](), frozenset({1}), frozenset({1, 3})):
        assert str(priced.of(mask)) == str(plain.of(mask))
    before, after = (dict(p.of(frozenset({0, 2})).items()) for p in (plain, priced))
    assert {unit for unit in before if before[unit] != after[unit]} - {"seconds"} == {"layers"}


def test_a_cost_that_counts_no_layers_gets_a_count() -> None:
    prices = Refusing(Free(), {A: frozenset({0})}).prices(A, ClientRound())
    assert prices.units == ("bytes_up", "layers")
    assert [prices.of(frozenset(m)).layers for m in ((), (1, 2), (0,))] == [0, 2, 4]
    assert prices.of(frozenset({1, 2})).bytes_up == 11


@pytest.mark.parametrize("limit", [inf, 9.0, 4.0, 2.0, 0.0])
def test_a_budget_pays_for_every_mask_that_it_paid_for_but_for_no_refused_layer(limit: float) -> None:
    plain = counted(4).prices(A, ClientRound())
    prices = Refusing(counted(4), {A: frozenset({1})}).prices(A, ClientRound())
    budget, kept = Cost.limits(layers=limit), within(Cost.limits(layers=limit), 4)
    for mask in map(frozenset, ((), (0,), (0, 2), (0, 2, 3), (1,), (1, 2), (0, 1, 2, 3))):
        assert prices.of(mask).fits(kept) == (1 not in mask and plain.of(mask).fits(budget))
