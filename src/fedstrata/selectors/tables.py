"""Prices and budgets of a selection problem as the arrays that ``solve`` takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import SelectionProblem

Floats = NDArray[np.float64]


def tables(problem: SelectionProblem, columns: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    """Return what each budget leaves after the empty mask, and the prices of layers and lowest layers.

    Rows that limit nobody are left out. A client that cannot even pay for the empty mask gets no room, so its mask is
    empty; whether it may take part at all is for the run to say.

    Args:
        problem: Prices and budgets.
        columns: The layers that a mask may hold.

    Returns:
        ``room`` of shape ``[rows, clients]``, ``each`` and ``setup`` of shape ``[rows, clients, columns]``.
    """
    lists = [problem.prices(client) for client in problem.clients]
    budgets = [problem.profiles[client].budget for client in problem.clients]
    limits = [_limited(prices, budget.limited()) for prices, budget in zip(lists, budgets, strict=True)]
    depth = max((len(found) for found in limits), default=0) or 1
    shape = (depth, len(lists), len(columns))
    room, each, setup = np.full(shape[:2], np.inf), np.zeros(shape), np.zeros(shape)
    for at, (budget, prices, found) in enumerate(zip(budgets, lists, limits, strict=True)):
        left = prices.room(budget)
        for row, source in enumerate(found):
            room[row, at] = max(float(left[source]), 0.0)
            each[row, at] = prices.each[source][list(columns)]
            setup[row, at] = prices.setup[source][list(columns)]
    return room, each, setup


def _limited(prices: Prices, units: Sequence[str]) -> list[int]:
    return [row for row, unit in enumerate(prices.units) if unit in units]
