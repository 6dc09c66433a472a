from __future__ import annotations

from fedstrata.costs.layer_count import LayerCount
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap


def test_price_is_the_number_of_layers() -> None:
    assert LayerCount().price(frozenset({1, 5, 7}), LayerMap(()), ClientId("a")) == Cost(layers=3.0)


def test_empty_mask_is_free() -> None:
    assert LayerCount().price(frozenset(), LayerMap(()), ClientId("a")) == Cost()
