"""No budget: every mask is affordable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstrata.budgets.protocol import FullCost
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds


@dataclass(frozen=True, slots=True)
class Unlimited:
    """Every client may train all layers.

    Example:
        >>> Unlimited().assign([ClientId("a")], Seeds(0), FullCost())["a"].layers
        inf
    """

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return an unlimited budget for every client."""
        return {client: Cost.unlimited() for client in clients}
