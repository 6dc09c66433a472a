"""Costs and budgets: what a mask asks of a client, and what the client can pay, in the same units."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of a mask, or a client's budget for one.

    Attributes:
        layers: Number of layers; as a budget, how many a client may train in a round.

    Example:
        >>> Cost(layers=2).fits(Cost(layers=2)), Cost(layers=3).fits(Cost(layers=2))
        (True, False)
    """

    layers: float = 0.0

    @classmethod
    def unlimited(cls) -> Cost:
        """Return the budget that every mask fits."""
        return cls(layers=inf)

    def fits(self, budget: Cost) -> bool:
        """Return whether a client with this budget can pay this price."""
        return self.layers <= budget.layers
