"""Costs and budgets: what a mask asks of a client, and what the client can pay, in the same units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isinf, isnan

from fedstrata.domain.units import UNITS, shown


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of a mask, or a client's budget for one. In a price, ``nan`` stands for what was not measured.

    Attributes:
        layers: Number of layers; as a budget, how many a client may train in a round.
        flops: Floating-point operations of a round, a multiply-add as two.
        bytes_up: Bytes that the client sends in a round.
        bytes_down: Bytes that the client is sent in a round.
        bytes_peak: Largest memory that probe and training use, the model's parameters included.
        seconds: Time of a round on the client's machine, transfers included.

    Example:
        >>> Cost(layers=2).fits(Cost.limits(layers=2)), Cost(layers=3).fits(Cost.limits(layers=2))
        (True, False)
        >>> str(Cost.limits(layers=2, bytes_up=3e6)), str(Cost.unlimited())
        ('2 layers, 3.00 MB up', 'no limit')
    """

    layers: float = 0.0
    flops: float = 0.0
    bytes_up: float = 0.0
    bytes_down: float = 0.0
    bytes_peak: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the cost as people read it: what is limited, or what costs anything."""
        known = [(unit, value) for unit, value in self.items() if not isnan(value)]
        if any(isinf(value) for _, value in known):
            return ", ".join(shown(unit, value) for unit, value in known if not isinf(value)) or "no limit"
        return ", ".join(shown(unit, value) for unit, value in known if value) or "nothing"

    @classmethod
    def limits(cls, **units: float) -> Cost:
        """Return the budget with these limits and no others."""
        return cls(**{**dict.fromkeys(UNITS, inf), **units})

    @classmethod
    def unlimited(cls) -> Cost:
        """Return the budget that every mask fits."""
        return cls.limits()

    def items(self) -> tuple[tuple[str, float], ...]:
        """Return every unit with its value, in the order of ``UNITS``."""
        return tuple((unit, float(getattr(self, unit))) for unit in UNITS)

    def limited(self) -> tuple[str, ...]:
        """Return the units that a budget limits."""
        return tuple(unit for unit, value in self.items() if not isinf(value))

    def over(self, budget: Cost) -> tuple[str, ...]:
        """Return the units in which a price exceeds a budget; what was not measured exceeds every limit."""
        return tuple(
            unit
            for (unit, price), (_, limit) in zip(self.items(), budget.items(), strict=True)
            if not (isinf(limit) or price <= limit)
        )

    def fits(self, budget: Cost) -> bool:
        """Return whether a client with this budget can pay this price in every unit."""
        return not self.over(budget)

    def only(self, *units: str) -> Cost:
        """Return the cost in these units alone."""
        return Cost(**{unit: value for unit, value in self.items() if unit in units})


def spread(budgets: Iterable[Cost]) -> str:
    """Return what budgets allow, from the smallest to the largest, unit by unit.

    Example:
        >>> spread([Cost.limits(layers=1), Cost.limits(layers=3)]), spread([Cost.unlimited()])
        ('1 layer to 3 layers', 'no limit')
    """
    found = list(budgets)
    parts = []
    for unit in UNITS:
        values = sorted({float(getattr(budget, unit)) for budget in found})
        if values and not isinf(values[0]):
            low, high = shown(unit, values[0]), shown(unit, values[-1])
            parts.append(low if low == high else f"{low} to {high}")
    return ", ".join(parts) or "no limit"


@dataclass(frozen=True, slots=True)
class ClientRound:
    """What is known of a client's round before its mask is.

    Attributes:
        probes: Probes that the client does in this round: its own, and a piggybacked one for the next.
        bytes_down: Bytes of the layers that the client lacks.
    """

    probes: int = 0
    bytes_down: int = 0
