"""One client's best mask: the exact 0/1 knapsack by the list of undominated partial masks, for any real costs.

Nemhauser and Ullmann, "Discrete Dynamic Programming and Capital Allocation", Management Science 15(9), 1969,
https://doi.org/10.1287/mnsc.15.9.494; partial masks whose fractional upper bound is below the greedy value are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.solvers.problem import Bools, Floats

LIMIT = 50_000
"""Partial masks kept; beyond it the most promising are kept and the upper bound says what may be missing."""

ROUNDING = 1e-14
"""Relative guard of the bound against sums in another order."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A knapsack's answer.

    Attributes:
        mask: Shape ``[layers]``.
        value: Sum of the chosen values.
        bound: No affordable mask is worth more; equals ``value``, but for a guard
            against rounding, unless partial masks had to be dropped.
    """

    mask: Bools
    value: float
    bound: float


def greedy(values: Floats, costs: Floats, budget: float) -> Bools:
    """Return the mask that takes positive values by value per cost while they fit (skipping what does not).

    Example:
        >>> greedy(np.array([6.0, 5.0, 5.0]), np.array([4.0, 3.0, 3.0]), 6.0).tolist()
        [False, True, True]
    """
    mask = np.zeros(len(values), dtype=np.bool_)
    for item in np.argsort(-values / costs, kind="stable"):
        mask[item] = values[item] > 0
        if mask[item] and (costs * mask).sum() > budget:
            mask[item] = False
    return mask


def greedy_rows(values: Floats, costs: Floats, budgets: Floats) -> Bools:
    """Return ``greedy`` for many rows at once; ``values`` has shape ``[..., clients, layers]``."""
    prices = np.broadcast_to(costs, values.shape)
    order = np.argsort(-values / prices, axis=-1, kind="stable")
    worth, price = np.take_along_axis(values, order, -1), np.take_along_axis(prices, order, -1)
    room = np.array(np.broadcast_to(budgets, values.shape[:-1]))
    picked = np.zeros(values.shape, dtype=np.bool_)
    for place in range(values.shape[-1]):
        picked[..., place] = (worth[..., place] > 0) & (price[..., place] <= room)
        room -= picked[..., place] * price[..., place]
    masks = np.zeros(values.shape, dtype=np.bool_)
    np.put_along_axis(masks, order, picked, -1)
    for row in np.argwhere((prices * masks).sum(axis=-1) > budgets):
        at = tuple(row)
        masks[at] = greedy(values[at], prices[at], float(budgets[at[-1]]))
    return masks


def knapsack(values: Floats, costs: Floats, budget: float) -> Packed:
    """Return the mask of largest total value within a budget; values of 0 or less are never taken.

    Args:
        values: Shape ``[layers]``, finite.
        costs: Shape ``[layers]``, > 0.
        budget: At least 0.

    Example:
        >>> knapsack(np.array([6.0, 5.0, 5.0]), np.array([4.0, 3.0, 3.0]), 6.5).mask.tolist()
        [False, True, True]
    """
    usable = np.flatnonzero((values > 0) & (costs <= budget))
    items = usable[np.argsort(-values[usable] / costs[usable], kind="stable")]
    everything = np.zeros(len(values), dtype=np.bool_)
    everything[items] = True
    if (costs * everything).sum() <= budget:
        total = float(values[everything].sum())
        return Packed(everything, total, total * (1 + ROUNDING))
    return _pack(values, costs, budget, items)


def _pack(values: Floats, costs: Floats, budget: float, items: NDArray[np.int64]) -> Packed:
    best = greedy(values, costs, budget)
    floor = float(values[best].sum())
    lost = floor
    worth, price = np.zeros(1), np.zeros(1)
    steps: list[tuple[NDArray[np.int64], Bools]] = []
    for step, item in enumerate(items):
        fits = np.flatnonzero(price + costs[item] <= budget)
        parent = np.concatenate([np.arange(len(worth)), fits])
        taken = np.arange(len(parent)) >= len(worth)
        worth = np.concatenate([worth, worth[fits] + values[item]])
        price = np.concatenate([price, price[fits] + costs[item]])
        hope = worth + _fractional(values[items[step + 1 :]], costs[items[step + 1 :]], budget - price)
        keep, dropped = _undominated(worth, price, hope, floor)
        lost = max(lost, dropped)
        worth, price, parent, taken = worth[keep], price[keep], parent[keep], taken[keep]
        steps.append((parent, taken))
    if len(worth):
        mask = _trace(steps, items, int(np.argmax(worth)), len(values))
        if (costs * mask).sum() <= budget and float(values[mask].sum()) > floor:
            best, floor = mask, float(values[mask].sum())
    return Packed(best, floor, max(lost, floor) + ROUNDING * float(values[items].sum()))


def _fractional(values: Floats, costs: Floats, room: Floats) -> Floats:
    """Return what the remaining items, sorted by density, add at most to each partial mask."""
    filled = np.concatenate([[0.0], np.cumsum(costs)])
    gained = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(np.interp(room, filled, gained))


def _undominated(worth: Floats, price: Floats, hope: Floats, floor: float) -> tuple[NDArray[np.int64], float]:
    """Return the partial masks to keep, and the best hope among those dropped only for want of space."""
    alive = np.flatnonzero(hope >= floor * (1 - 1e-14))
    order = alive[np.lexsort((-worth[alive], price[alive]))]
    value = worth[order]
    record = np.concatenate([[-np.inf], np.maximum.accumulate(value)[:-1]]) if len(value) else value
    keep = order[value > record]
    if len(keep) <= LIMIT:
        return keep, -np.inf
    ranked = keep[np.argsort(-hope[keep], kind="stable")]
    return np.sort(ranked[:LIMIT]), float(hope[ranked[LIMIT]])


def _trace(steps: list[tuple[NDArray[np.int64], Bools]], items: NDArray[np.int64], end: int, layers: int) -> Bools:
    mask = np.zeros(layers, dtype=np.bool_)
    for item, (parent, taken) in zip(reversed(items), reversed(steps), strict=True):
        mask[item] = taken[end]
        end = int(parent[end])
    return mask
