"""What a cost model is: the price of a mask, not of a layer."""

from __future__ import annotations

from typing import Protocol

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask


class CostModel(Protocol):
    """Prices masks: back-propagation reaches the lowest selected layer, so a price is not a sum over layers."""

    def price(self, mask: Mask, layers: LayerMap, client: ClientId) -> Cost:
        """Return what training this mask for one round asks of the client; monotone in the mask."""
        ...
