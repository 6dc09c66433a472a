"""One budget for every client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every client may train this many layers per round.

    Attributes:
        layers: Number of layers, at least 0.

    Example:
        >>> Fixed(layers=2).assign([ClientId("a")], Seeds(0))["a"].layers
        2.0
    """

    layers: int

    def __post_init__(self) -> None:
        """Refuse a negative budget."""
        if self.layers < 0:
            raise BudgetError(f"budget 'fixed' has layers: {self.layers}; it must be 0 or more")

    def assign(self, clients: Sequence[ClientId], seeds: Seeds) -> Mapping[ClientId, Cost]:
        """Return the same budget for every client."""
        return {client: Cost(layers=float(self.layers)) for client in clients}
