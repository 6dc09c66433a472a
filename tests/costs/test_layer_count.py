from __future__ import annotations

from math import isnan

from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId


def test_a_mask_costs_as_many_as_it_has_layers_and_nothing_else_is_priced() -> None:
    price = counted(8).prices(ClientId("a"), ClientRound(probes=1)).of(frozenset({1, 5, 7}))
    assert price.layers == 3.0
    assert all(isnan(value) for unit, value in price.items() if unit != "layers")


def test_nothing_costs_nothing() -> None:
    assert counted(3).prices(ClientId("a"), ClientRound()).of(frozenset()).layers == 0.0
