"""The price of every mask of one client: per unit a set-up part by the lowest layer, plus a sum over layers.

Back-propagation runs from the loss down to the lowest trained layer ``l``, so in each row ``r``::

    price_r(mask) = base_r + setup_r[l] + sum of each_r over the mask,      price_r({}) = base_r

and the price in a unit is the largest of that unit's rows (peak memory has one row per moment that may be the peak).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.cost import Cost
from fedstrata.domain.layers import Mask
from fedstrata.domain.units import UNITS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Prices of one client in one round; units without a row were not measured.

    Attributes:
        units: Unit of each row.
        base: What the empty mask costs. Shape ``[rows]``.
        setup: What reaching down to a lowest layer adds, at least 0. Shape ``[rows, layers]``.
        each: What training a layer adds, at least 0. Shape ``[rows, layers]``.

    Example:
        >>> p = Prices(("flops",), np.array([6.0]), np.array([[2.0, 1.0, 0.0]]), np.ones((1, 3)))
        >>> [p.of(frozenset(m)).flops for m in ((), (2,), (0,), (0, 2))]
        [6.0, 7.0, 9.0, 10.0]
    """

    units: tuple[str, ...]
    base: Floats
    setup: Floats
    each: Floats

    def of(self, mask: Mask) -> Cost:
        """Return the price of a mask."""
        rows = self.base + (self.setup[:, min(mask)] + self.each[:, sorted(mask)].sum(axis=1) if mask else 0.0)
        found: dict[str, float] = {}
        for unit, value in zip(self.units, rows, strict=True):
            found[unit] = max(float(value), found.get(unit, 0.0))
        return Cost(**{unit: found.get(unit, float("nan")) for unit in UNITS})

    def room(self, budget: Cost) -> Floats:
        """Return what a budget leaves in each row after the empty mask's price; may be negative. Shape ``[rows]``."""
        limits = dict(budget.items())
        return np.array([limits[unit] for unit in self.units]) - self.base
