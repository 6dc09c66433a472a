"""Prices on a client's budgets that bound the worth of its masks, for many rows (clients with their worths) at once.

At any prices mu >= 0 a mask with lowest layer l is worth at most ``worth_l + mu (1 - setup_l - cost_l) + sum_{j > l}
max(0, worth_j - mu cost_j)``, a convex function of mu; budgets are scaled to 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedstrata.solvers.objective import Floats

TOLERANCE = 1e-12
"""Relative slack of budgets and worths during the search; the masks it returns are checked without any."""
HALVINGS = 20
"""Bisection steps for one price."""
SHRINKS = 16
"""Ellipsoid steps for each unit."""

Bounding = Callable[[Floats], tuple[Floats, Floats]]
"""A convex bound: from prices ``[rows, units]`` to values ``[rows]`` and subgradients ``[rows, units]``."""


def suffix(gains: Floats) -> Floats:
    """Return sums from each layer to the last.

    Example:
        >>> suffix(np.array([[1.0, 2.0, 3.0]])).tolist()
        [[6.0, 5.0, 3.0]]
    """
    return np.asarray(np.cumsum(gains[:, ::-1], axis=1)[:, ::-1])


def ceilings(costs: Floats, setups: Floats, worth: Floats, prices: Floats) -> tuple[Floats, Floats]:
    """Return the bound by lowest layer, ``[rows, layers]`` (``-inf`` if it cannot be one), and reduced worths."""
    reduced = worth - np.einsum("ru,rul->rl", prices, costs)
    gains = np.maximum(reduced, 0.0)
    paid = np.einsum("ru,rul->rl", prices, setups)
    # worth_l + mu (1 - setup_l - cost_l) + sum_{j > l} max(0, worth_j - mu cost_j).
    bound = reduced - paid + prices.sum(axis=1)[:, None] + suffix(gains) - gains
    return np.where((setups + costs <= 1 + TOLERANCE).all(axis=1), bound, -np.inf), reduced


def relax(costs: Floats, setups: Floats, worth: Floats, *, rough: bool = False) -> tuple[Floats, Floats]:
    """Return prices ``[rows, units]`` and the bound by lowest layer, ``[rows, layers]``."""
    rows = np.arange(len(worth))

    def highest(prices: Floats) -> tuple[Floats, Floats]:
        bound, reduced = ceilings(costs, setups, worth, prices)
        lowest = bound.argmax(axis=1)
        above = (reduced > 0) & (np.arange(worth.shape[1]) > lowest[:, None])
        spent = np.einsum("rul,rl->ru", costs, above.astype(np.float64))
        # The slope in mu at the highest bound: 1 - what its relaxed mask spends.
        slope = 1 - setups[rows, :, lowest] - costs[rows, :, lowest] - spent
        top = bound[rows, lowest]
        # Below 0 the empty mask is best, and prices are too high.
        return np.maximum(top, 0.0), np.where((top > 0)[:, None], slope, 1.0)

    prices = cheapest(highest, np.maximum(worth, 0.0).sum(axis=1), costs.shape[1], rough=rough)
    return prices, ceilings(costs, setups, worth, prices)[0]


def cheapest(bound: Bounding, most: Floats, units: int, *, rough: bool = False) -> Floats:
    """Return prices ``[rows, units]`` at which a convex bound is nearly least: bisection, or ellipsoids for many units.

    Args:
        bound: Returns the bound ``[rows]`` and a subgradient ``[rows, units]`` at given prices.
        most: Largest price. Shape ``[rows]``.
        units: Number of prices.
        rough: One price for all units and fewer steps will do.
    """
    if units == 0:
        return np.zeros((len(most), 0))
    # One price for all units, by bisection on the sign of the slope.
    low, high = np.zeros((len(most), 1)), most[:, None].copy()
    for _ in range(HALVINGS // 2 if rough else HALVINGS):
        middle = (low + high) / 2
        rising = bound(np.repeat(middle, units, axis=1))[1].sum(axis=1, keepdims=True) < 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    prices = np.repeat(high, units, axis=1)
    return (
        prices if units == 1 or rough else _ellipsoids(bound, prices, np.maximum(high, 1e-6 * most[:, None] + 1e-300))
    )


def _ellipsoids(bound: Bounding, prices: Floats, radius: Floats) -> Floats:
    """Shrink an ellipsoid around the least bound, by its centre's subgradient, for all rows at once.

    Shor, "Cut-off method with space extension in convex programming problems", Cybernetics 13(1), 1977,
    https://doi.org/10.1007/BF01071394.
    """
    units = prices.shape[1]
    centre, best = prices, prices
    shape = np.eye(units) * (units * radius**2)[:, :, None]
    least, slope = bound(centre)
    for _ in range(SHRINKS * units):
        # A centre with a price below 0 is cut off by that sign, not by the slope.
        outside = np.asarray((centre < 0).any(axis=1))
        cut = np.where(outside[:, None], np.where(centre < 0, -1.0, 0.0), slope)
        spread = np.einsum("ruv,rv->ru", shape, cut)
        width = np.sqrt(np.maximum((cut * spread).sum(axis=1), 0.0))[:, None]
        step = np.where(width > 0, spread / np.where(width > 0, width, 1.0), 0.0)
        # The least ellipsoid that holds the half on the good side of the cut.
        centre = centre - step / (units + 1)
        outer = 2 / (units + 1) * step[:, :, None] * step[:, None, :]
        shape = units**2 / (units**2 - 1) * (shape - outer)
        value, slope = bound(np.maximum(centre, 0.0))
        best = np.where((value < least)[:, None], np.maximum(centre, 0.0), best)
        least = np.minimum(value, least)
    return best
