"""The main paper's cost: every layer costs one."""

from __future__ import annotations

from dataclasses import dataclass

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Prices a mask by the number of its layers; ``always`` blocks are free.

    Example:
        >>> LayerCount().price(frozenset({0, 3}), LayerMap(()), ClientId("c0")).layers
        2.0
    """

    def price(self, mask: Mask, layers: LayerMap, client: ClientId) -> Cost:
        """Return the number of layers in the mask."""
        return Cost(layers=float(len(mask)))
