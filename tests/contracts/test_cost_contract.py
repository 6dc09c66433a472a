"""What every cost model owes its callers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.costs.layer_count import LayerCount
from fedstrata.costs.protocol import CostModel
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec

COSTS: list[CostModel] = [LayerCount()]

LAYERS = LayerMap(
    tuple(Layer(LayerName(f"h.{i}"), Role.LAYER, (TensorSpec(TensorName(f"h.{i}.w"), (i + 1, 2)),)) for i in range(8))
)
CLIENT = ClientId("c0")
masks = st.frozensets(st.integers(0, 7))


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_empty_mask_is_free(cost: CostModel) -> None:
    assert cost.price(frozenset(), LAYERS, CLIENT).fits(Cost())


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@given(small=masks, more=masks)
def test_more_layers_never_cost_less(cost: CostModel, small: frozenset[int], more: frozenset[int]) -> None:
    assert cost.price(small, LAYERS, CLIENT).fits(cost.price(small | more, LAYERS, CLIENT))


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@given(mask=masks)
def test_price_is_pure_and_payable_without_a_limit(cost: CostModel, mask: frozenset[int]) -> None:
    assert cost.price(mask, LAYERS, CLIENT) == cost.price(frozenset(sorted(mask, reverse=True)), LAYERS, CLIENT)
    assert cost.price(mask, LAYERS, CLIENT).fits(Cost.unlimited())


@given(mask=masks)
def test_layer_count_is_the_sum_of_its_layers(mask: frozenset[int]) -> None:
    alone = sum(LayerCount().price(frozenset({layer}), LAYERS, CLIENT).layers for layer in mask)
    assert LayerCount().price(mask, LAYERS, CLIENT).layers == alone
