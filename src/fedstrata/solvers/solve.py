"""``solve``: masks for all clients at once, with a certificate of how good they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf, isinf
from time import monotonic

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedstrata.solvers.agree import agree
from fedstrata.solvers.best_response import responses
from fedstrata.solvers.client_masks import priced
from fedstrata.solvers.consensus_limit import common
from fedstrata.solvers.diverse import diverse
from fedstrata.solvers.objective import Bools, Floats, Instance, Objective, objective
from fedstrata.solvers.priced import solve_priced
from fedstrata.solvers.tariff import CostTable, Ints, tariff


@dataclass(frozen=True, slots=True)
class Solution:
    """Masks and their certificate.

    Attributes:
        masks: Shape ``[clients, layers]``, bool; every row within its budget.
        objective: Value of the masks. With ``consensus=inf``: their summed score alone.
        bound: No masks within the budgets are worth more; never below ``objective``. With ``consensus=inf``: no masks
            of greatest agreement (``consensus_limit.py``) are worth more; ``inf`` where budgets do not count layers.
        gap: ``(bound - objective) / max(|objective|, largest |score|)``, at least 0; up to 1e-6 means proven.
        rule: What chose the masks: ``empty``, ``separable``, ``knapsack``, ``best-response``, ``milp``, ``flow``,
            ``common`` or ``common-prefix``.
    """

    masks: NDArray[np.bool_]
    objective: float
    bound: float
    gap: float
    rule: str


def solve(
    scores: ArrayLike,
    budgets: ArrayLike,
    *,
    consensus: float = 0.0,
    diversity: float = 0.0,
    costs: ArrayLike | None = None,
    setups: ArrayLike | None = None,
    time_limit: float | None = None,
) -> Solution:
    """Choose every client's layers: maximise summed scores minus a penalty on how the clients' choices differ or agree.

    With k_l of n clients training layer l, the masks m maximise ``sum_il m_il s_il - consensus * sum_l k_l (n - k_l) -
    diversity * sum_l k_l^2``. A mask that is not empty costs, in every unit, the set-up of its lowest layer plus the
    costs of its layers, and each client pays within its budgets. The same input gives the same answer (unless
    ``time_limit`` cuts HiGHS short); the order of the clients does not matter.

    Args:
        scores: Shape ``[clients, layers]``, finite, any sign; larger is better.
        budgets: Shape ``[clients]`` or ``[units, clients]``, at least 0; ``inf`` for no limit.
        consensus: Weight of disagreement, at least 0; ``inf`` for agreement before all else (``consensus_limit.py``;
            where budgets do not simply count layers, ``solvers/priced.py: ranked``).
        diversity: Weight of agreement, at least 0; exclusive with ``consensus``.
        costs: Price of each layer, at least 0, shape ``[layers]``, ``[clients, layers]`` or
            ``[units, clients, layers]``; by default 1 each.
        setups: Price of the lowest layer of a mask, on top of its cost; shaped as ``costs``; by default 0 each.
        time_limit: Seconds after which no proof is begun or continued; the first masks and bound are always found.

    Raises:
        ConfigError: Wrong shapes, signs or sizes, or both weights above 0.
        BudgetError: A budget that is negative or not a number.

    Example:
        >>> solve([[3.0, 2.0], [1.0, 2.0]], budgets=[1, 1], consensus=1.0).masks.astype(int).tolist()
        [[1, 0], [1, 0]]
        >>> solve([[3.0, 2.0]], budgets=[2.5], setups=[2.0, 1.0]).masks.astype(int).tolist()
        [[0, 1]]
    """
    worth = objective(scores, consensus=consensus, diversity=diversity)
    shape = (worth.scores.shape[0], worth.scores.shape[1])
    prices = tariff(budgets, shape, costs=costs, setups=setups)
    if not worth.scores.size:
        return Solution(np.zeros(shape, dtype=np.bool_), 0.0, 0.0, 0.0, "empty")
    deadline = inf if time_limit is None else monotonic() + time_limit
    counts = prices.counts()
    # Ties are decided by position: clients come in an order that their data alone decide.
    order = _canonical(worth.scores, prices if counts is None else None, counts)
    worth = Objective(worth.scores[order], worth.consensus, worth.diversity)
    if counts is None:
        # The search has absolute tolerances: scores of size 1 make them relative.
        scale = _scale(worth)
        level = Objective(worth.scores / scale, worth.consensus / scale, worth.diversity / scale)
        chosen, bound, rule = solve_priced(priced(level, prices.permuted(order)), deadline)
        bound *= scale
    else:
        chosen, bound, rule = _counted(worth, counts[order], deadline)
    # Back to the caller's order.
    masks = np.zeros_like(chosen)
    masks[order] = chosen
    worth = Objective(np.asarray(scores, dtype=np.float64), worth.consensus, worth.diversity)
    return _certify(worth, _affordable(masks, worth.scores, prices), bound, rule)


def _counted(worth: Objective, counts: Floats, deadline: float) -> tuple[Bools, float, str]:
    """Return masks, bound and rule where budgets are numbers of layers."""
    problem = Instance(worth.scores, counts, worth.consensus, worth.diversity)
    if isinf(worth.consensus):
        masks = common(problem)
        return masks, float(worth.scores[masks].sum()) + _rounding(worth), "common"
    if worth.consensus == 0 and worth.diversity == 0:
        masks = responses(problem, problem.scores)
        return masks, problem.value(masks) + _rounding(worth), "separable"
    return diverse(problem, deadline) if worth.diversity > 0 else agree(problem, deadline)


def _scale(worth: Objective) -> float:
    """Return a power of two near the largest score or weight: dividing by it rounds nothing and changes no choice."""
    weights = [weight for weight in (worth.consensus, worth.diversity) if not isinf(weight)]
    largest = max(float(np.abs(worth.scores).max()), *weights)
    return 2.0 ** (frexp(largest)[1] - 1) if largest > 0 else 1.0


def _rounding(worth: Objective) -> float:
    """Return what summing scores in another order may add."""
    return 1e-15 * float(np.abs(worth.scores).sum())


def _canonical(scores: Floats, prices: CostTable | None, counts: Floats | None) -> Ints:
    """Return an order of the clients that depends on their data alone, so that their numbering does not matter."""
    keys = [scores.sum(axis=1)] if counts is None else [counts, scores.sum(axis=1)]
    small = scores.size <= 1_000_000
    if small:
        keys += [*scores.T]
    if prices is not None:
        keys += [*prices.budgets]
        tables = (prices.costs, prices.setups) if small else ()
        keys += [column for table in tables for unit in table for column in unit.T]
    # lexsort takes the main key last.
    return np.lexsort(keys[::-1]).astype(np.int64)


def _affordable(masks: Bools, scores: Floats, prices: CostTable) -> Bools:
    """Drop the least valuable layer while rounding puts a client over a budget, measured without tolerance."""
    masks = masks.copy()
    for client in range(len(masks)):
        while not prices.fits(masks[client], client):
            masks[client, int(np.argmin(np.where(masks[client], scores[client], np.inf)))] = False
    return masks


def _certify(worth: Objective, masks: Bools, bound: float, rule: str) -> Solution:
    value = float(worth.scores[masks].sum()) if isinf(worth.consensus) else worth.value(masks)
    # Rounding may have put the bound a digit below what it bounds.
    bound = max(bound, value)
    gap = (bound - value) / max(abs(value), float(np.abs(worth.scores).max()), 1e-300)
    return Solution(masks, value, bound, gap, rule)
