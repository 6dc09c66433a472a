"""Layers that a client refuses: masks that hold one cost more layers than there are, so that no budget pays for them.

Every selector and solver looks at prices and budgets alone, so none of them has to know of refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedstrata.costs.protocol import Pricing
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices

_UNIT = "layers"


@dataclass(frozen=True, slots=True)
class Refusing:
    """Prices in which a refused layer costs as many layers as there are and one more; others are as they were.

    The budget of a client that refuses layers has to limit their number for this to tell: ``within`` sees to it.

    Attributes:
        inner: The prices without refusals.
        refused: Indices of the layers that a client refuses; clients that refuse none may be left out.

    Example:
        >>> from fedstrata.costs.layer_count import counted
        >>> a = ClientId("a")
        >>> prices = Refusing(counted(4), {a: frozenset({1})}).prices(a, ClientRound())
        >>> [prices.of(frozenset(mask)).layers for mask in ((), (0, 3), (1,), (0, 1))]
        [0.0, 2.0, 5.0, 6.0]
    """

    inner: Pricing
    refused: Mapping[ClientId, frozenset[int]]

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        """Return what each mask asks of the client in one round."""
        found, refused = self.inner.prices(client, visit), self.refused.get(client)
        return _barred(found, refused) if refused else found


def within(budget: Cost, layers: int) -> Cost:
    """Return a budget that pays for no more layers than there are, and so for no refused one.

    Example:
        >>> within(Cost.limits(flops=9.0), 4).layers, within(Cost.limits(layers=2.0), 4).layers
        (4.0, 2.0)
    """
    return replace(budget, layers=min(budget.layers, float(layers)))


def _barred(prices: Prices, refused: frozenset[int]) -> Prices:
    layers = prices.each.shape[1]
    if _UNIT not in prices.units:
        prices = Prices(
            (*prices.units, _UNIT),
            np.append(prices.base, 0.0),
            np.vstack([prices.setup, np.zeros(layers)]),
            np.vstack([prices.each, np.ones(layers)]),
        )
    rows = [row for row, unit in enumerate(prices.units) if unit == _UNIT]
    each = prices.each.copy()
    each[np.ix_(rows, sorted(refused))] = layers + 1
    return replace(prices, each=each)
