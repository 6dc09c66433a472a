"""Costs and budgets: what a mask asks of a client, and what the client can pay, in the same units."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of a mask, or a client's budget for one.

    Attributes:
        layers: Number of layers; as a budget, how many a client may train in a round.

    Example:
        >>> Cost(layers=2).fits(Cost(layers=2)), Cost(layers=3).fits(Cost(layers=2))
        (True, False)
        >>> str(Cost(layers=2)), str(Cost.unlimited())
        ('2 layers', 'no limit')
    """

    layers: float = 0.0

    def __str__(self) -> str:
        """Return the cost as people read it: ``2 layers``."""
        return "no limit" if isinf(self.layers) else f"{self.layers:g} layer{'' if self.layers == 1 else 's'}"

    @classmethod
    def unlimited(cls) -> Cost:
        """Return the budget that every mask fits."""
        return cls(layers=inf)

    def fits(self, budget: Cost) -> bool:
        """Return whether a client with this budget can pay this price."""
        return self.layers <= budget.layers
