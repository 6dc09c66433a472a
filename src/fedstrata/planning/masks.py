"""What a budget pays for: which masks a client could be given, and what the cheapest and the dearest of them cost.

A price is a set-up part by the lowest layer plus a sum over layers. Few layers are enumerated. With more, for every
possible lowest layer and every limited row, the cheapest layers above tell how many fit at most; the largest entries
of that many layers bound the dearest mask from above, and masks filled in order of price are tried beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.cost import Cost
from fedstrata.domain.layers import Mask
from fedstrata.domain.prices import Prices
from fedstrata.domain.units import UNITS

Floats = NDArray[np.float64]

ENUMERATED = 12
"""Layers up to which every mask is looked at."""
CLOSE = 1e-9
"""Relative distance from a limit within which a price is added up again exactly as a run does it."""


@dataclass(frozen=True, slots=True)
class Affordable:
    """The masks that a client could be given.

    Attributes:
        singles: Layers that can be trained alone.
        top: Largest number of layers from the output down.
        most: Largest number of layers of any affordable mask.
        most_exact: Whether ``most`` is proven; otherwise a larger mask may exist.
        cheapest: The least that a mask with a layer costs, unit by unit; ``None`` where none is affordable.
        dearest: No affordable mask costs more, unit by unit.
        loose: Units in which ``dearest`` may be more than any affordable mask costs.
    """

    singles: tuple[int, ...]
    top: int
    most: int
    most_exact: bool
    cheapest: Cost | None
    dearest: Cost | None
    loose: tuple[str, ...] = ()


def affordable(prices: Prices, budget: Cost, candidates: Sequence[int]) -> Affordable:
    """Return which masks a budget pays for.

    Args:
        prices: The client's prices.
        budget: Its budget.
        candidates: Layers that a mask may hold, ascending.

    Example:
        >>> p = Prices(("flops",), np.array([6.0]), np.array([[2.0, 1.0, 0.0]]), np.ones((1, 3)))
        >>> found = affordable(p, Cost.limits(flops=8.0), range(3))
        >>> found.singles, found.top, found.most, found.cheapest.flops, found.dearest.flops
        ((1, 2), 1, 1, 7.0, 8.0)
    """
    singles = tuple(i for i in candidates if prices.of(frozenset({i})).fits(budget))
    if not singles:
        return Affordable((), 0, 0, most_exact=True, cheapest=None, dearest=None)
    runs = (n for n in range(len(candidates), 0, -1) if prices.of(frozenset(candidates[-n:])).fits(budget))
    alone = [prices.of(frozenset({i})) for i in singles]
    cheapest = Cost(**{unit: float(min(getattr(price, unit) for price in alone)) for unit in UNITS})
    best = (_by_enumeration if len(singles) <= ENUMERATED else _by_structure)(prices, budget, singles)
    return Affordable(
        singles,
        next(runs, 0),
        best.most,
        most_exact=best.most_exact,
        cheapest=cheapest,
        dearest=best.dearest,
        loose=best.loose,
    )


@dataclass(frozen=True, slots=True)
class _Best:
    most: int
    most_exact: bool
    dearest: Cost
    loose: tuple[str, ...]


def _by_enumeration(prices: Prices, budget: Cost, singles: Sequence[int]) -> _Best:
    """Look at every mask of these layers."""
    columns = np.array(singles)
    bits = (np.arange(1, 1 << len(columns))[:, None] >> np.arange(len(columns))) & 1
    lowest = columns[bits.argmax(axis=1)]
    amounts = prices.base[:, None] + prices.setup[:, lowest] + prices.each[:, columns] @ bits.T.astype(np.float64)
    limits = dict(budget.items())
    fits = np.ones(len(bits), dtype=np.bool_)
    doubt = np.zeros(len(bits), dtype=np.bool_)
    for row in _limited(prices, budget):
        limit = limits[prices.units[row]]
        fits &= amounts[row] <= limit * (1 + CLOSE)
        doubt |= amounts[row] > limit * (1 - CLOSE)
    for at in np.flatnonzero(fits & doubt):
        fits[at] = prices.of(frozenset(columns[bits[at] > 0].tolist())).fits(budget)
    tops = {row: float(amounts[row, fits].max()) for row in range(len(prices.units))}
    return _Best(int(bits[fits].sum(axis=1).max()), most_exact=True, dearest=_cost(prices, tops, limits), loose=())


def _by_structure(prices: Prices, budget: Cost, singles: Sequence[int]) -> _Best:
    """Bound the dearest mask by the number of layers that fit above each lowest one, and try masks beside it."""
    limits = dict(budget.items())
    tops = dict.fromkeys(range(len(prices.units)), 0.0)
    ceiling = 0
    tried: set[Mask] = set()
    for lowest, above, count in _counts(prices, budget, singles):
        ceiling = max(ceiling, 1 + count)
        largest = -np.sort(-prices.each[:, above], axis=1)[:, :count].sum(axis=1)
        rows = prices.base + prices.setup[:, lowest] + prices.each[:, lowest] + largest
        tops = {row: max(top, float(rows[row])) for row, top in tops.items()}
        tried |= set(_filled(prices, budget, lowest, above))
    found = [(mask, prices.of(mask)) for mask in tried]
    most = max(len(mask) for mask, _ in found)
    dearest = _cost(prices, tops, limits)
    reached = {unit: max(dict(price.items())[unit] for _, price in found) for unit in set(prices.units)}
    loose = tuple(u for u in UNITS if u in reached and reached[u] < dict(dearest.items())[u] * (1 - CLOSE))
    return _Best(most, most_exact=most == ceiling, dearest=dearest, loose=loose)


def _counts(prices: Prices, budget: Cost, singles: Sequence[int]) -> Iterator[tuple[int, list[int], int]]:
    """Yield each lowest layer, the layers above it, and how many of those fit at most."""
    limited = _limited(prices, budget)
    room = prices.room(budget)[limited]
    for at, lowest in enumerate(singles):
        above = list(singles[at + 1 :])
        left = room - prices.setup[limited, lowest] - prices.each[limited, lowest]
        slack = CLOSE * np.abs(prices.room(budget)[limited] + prices.base[limited])
        running = np.cumsum(np.sort(prices.each[np.ix_(limited, above)], axis=1), axis=1)
        counts = (running <= (left + slack)[:, None]).sum(axis=1)
        yield lowest, above, int(counts.min(initial=len(above)))


def _filled(prices: Prices, budget: Cost, lowest: int, above: Sequence[int]) -> Iterator[Mask]:
    """Yield affordable masks with this lowest layer: filled by what asks least of the budget, and dearest first."""
    limited = _limited(prices, budget)
    left = prices.room(budget)[limited] - prices.setup[limited, lowest] - prices.each[limited, lowest]
    parts = prices.each[np.ix_(limited, above)] / np.maximum(left, 1e-300)[:, None]
    orders = [np.argsort(parts.max(axis=0, initial=0.0), kind="stable")]
    orders += [np.argsort(-row, kind="stable") for row in np.unique(prices.each[:, above], axis=0)]
    for order in orders:
        inside = (np.cumsum(parts[:, order], axis=1) <= 1 + CLOSE).all(axis=0)
        count = int(inside.sum())
        mask = frozenset({lowest, *(above[i] for i in order[:count])})
        while count and not prices.of(mask).fits(budget):
            count -= 1
            mask = frozenset({lowest, *(above[i] for i in order[:count])})
        yield mask


def _limited(prices: Prices, budget: Cost) -> list[int]:
    units = budget.limited()
    return [row for row, unit in enumerate(prices.units) if unit in units]


def _cost(prices: Prices, rows: dict[int, float], limits: dict[str, float]) -> Cost:
    found: dict[str, float] = {}
    for row, value in rows.items():
        unit = prices.units[row]
        found[unit] = max(min(value, limits[unit]), found.get(unit, 0.0))
    return Cost(**{unit: found.get(unit, float("nan")) for unit in UNITS})
