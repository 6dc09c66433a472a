"""The main paper's cost: every layer costs one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.costs.protocol import Facts, Pricing
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Prices a mask by the number of its layers; ``always`` blocks are free, and nothing else is priced."""

    def bind(self, facts: Facts) -> Pricing:
        """Return one price list for every client."""
        return counted(len(facts.layers))


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The same prices for every client."""

    table: Prices

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        """Return the prices."""
        return self.table


def counted(layers: int) -> Counted:
    """Return prices of one per layer.

    Example:
        >>> counted(4).prices(ClientId("c0"), ClientRound()).of(frozenset({0, 3})).layers
        2.0
    """
    return Counted(Prices(("layers",), np.zeros(1), np.zeros((1, layers)), np.ones((1, layers))))
