"""``solve``: masks for all clients at once, with a certificate of how good they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isinf
from time import monotonic

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedstrata.solvers.best_response import ascend, force, polish, responses, starts
from fedstrata.solvers.bound import Dual, evaluate, first_prices, lower
from fedstrata.solvers.common import common
from fedstrata.solvers.exact import prove
from fedstrata.solvers.flow import flow, prove_diverse
from fedstrata.solvers.knapsack import knapsack
from fedstrata.solvers.problem import Bools, Instance, instance, within

CLOSED = 1e-10
"""Relative gap at which masks count as optimal and the search stops."""
MILP_ENTRIES = 1500
"""Largest ``clients * layers`` for which HiGHS is asked for a proof."""
FLOW_ENTRIES = 40_000
"""Largest ``clients * layers`` for which diversity is solved as one linear program."""
LARGE = 1_000_000
"""Entries above which a gap of 1e-5 is good enough to stop."""
DUAL_WORK = 400_000_000
"""Matrix entries that one descent of the dual may touch; a count, not a clock."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Masks and their certificate.

    Attributes:
        masks: Shape ``[clients, layers]``, bool; every row within its budget.
        objective: Value of the masks. With ``consensus=inf``: their summed score alone.
        bound: No masks within the budgets are worth more; never below ``objective``. With ``consensus=inf``: no masks
            of greatest agreement (``solvers/common.py``) are worth more; ``inf`` where costs are not unit.
        gap: ``(bound - objective) / max(|objective|, largest |score|)``, at least 0; up to 1e-6 means proven.
        rule: What chose the masks: ``empty``, ``separable``, ``knapsack``, ``best-response``, ``milp``, ``flow``,
            ``common`` or ``common-prefix``.
    """

    masks: NDArray[np.bool_]
    objective: float
    bound: float
    gap: float
    rule: str


@dataclass(frozen=True, slots=True)
class _Answer:
    masks: Bools
    bound: float
    rule: str


def solve(
    scores: ArrayLike,
    budgets: ArrayLike,
    *,
    consensus: float = 0.0,
    diversity: float = 0.0,
    costs: ArrayLike | None = None,
    time_limit: float | None = None,
) -> Solution:
    """Choose every client's layers: maximise summed scores minus a penalty on how the clients' choices differ or agree.

    The objective is ``sum m*s - consensus * sum_l k_l (n - k_l) - diversity * sum_l k_l^2``. The same input gives the
    same answer (unless ``time_limit`` cuts HiGHS short); the order of the clients does not matter.

    Args:
        scores: Shape ``[clients, layers]``, finite, any sign; larger is better.
        budgets: Shape ``[clients]``, at least 0; ``inf`` for no limit.
        consensus: Weight of disagreement, at least 0; ``inf`` for agreement before all else (``solvers/common.py``).
        diversity: Weight of agreement, at least 0; exclusive with ``consensus``.
        costs: Price of each layer, > 0, shape ``[clients, layers]`` or ``[layers]``; by default 1 each.
        time_limit: Seconds after which no proof is begun or continued; the first masks and bound are always found.

    Raises:
        ConfigError: Wrong shapes, signs or sizes, or both weights above 0.
        BudgetError: A budget that is negative or not a number.

    Example:
        >>> solve([[3.0, 2.0], [1.0, 2.0]], budgets=[1, 1], consensus=1.0).masks.astype(int).tolist()
        [[1, 0], [1, 0]]
    """
    problem = instance(scores, budgets, consensus=consensus, diversity=diversity, costs=costs)
    if not problem.scores.size:
        return Solution(np.zeros(problem.scores.shape, dtype=np.bool_), 0.0, 0.0, 0.0, "empty")
    order = _canonical(problem)
    deadline = inf if time_limit is None else monotonic() + time_limit
    answer = _choose(problem.permuted(order), deadline)
    masks = np.zeros_like(answer.masks)
    masks[order] = answer.masks
    return _certify(problem, _affordable(masks, problem, costs, budgets), answer.bound, answer.rule)


def _choose(problem: Instance, deadline: float) -> _Answer:
    if isinf(problem.consensus):
        masks = common(problem)
        if not problem.unit:
            return _Answer(masks, inf, "common-prefix")
        return _Answer(masks, _value(problem, masks) + _rounding(problem), "common")
    if problem.consensus == 0 and problem.diversity == 0:
        return _separable(problem)
    if problem.diversity > 0:
        return _diverse(problem, deadline)
    return _agree(problem, deadline)


def _separable(problem: Instance) -> _Answer:
    """Without a penalty every client is on its own."""
    if problem.unit:
        masks = responses(problem, problem.scores)
        return _Answer(masks, problem.value(masks) + _rounding(problem), "separable")
    packed = [
        knapsack(row, price, float(budget))
        for row, price, budget in zip(problem.scores, problem.costs, problem.budgets, strict=True)
    ]
    return _Answer(np.array([p.mask for p in packed]), sum(p.bound for p in packed) + _rounding(problem), "knapsack")


def _agree(problem: Instance, deadline: float) -> _Answer:
    """Climb, bound, and only while the gap is open: force layers in and out, then ask HiGHS."""
    masks = _polished(problem, ascend(problem, starts(problem))[0])
    dual = _descend(problem, first_prices(problem, masks), problem.value(masks))
    if not _open(problem, masks, dual.bound) or monotonic() > deadline:
        return _Answer(masks, dual.bound, "best-response")
    relaxed = _polished(problem, ascend(problem, dual.loads[None])[0])
    masks = force(problem, max(masks, relaxed, key=problem.value))
    dual = _descend(problem, dual.prices, problem.value(masks))
    if not _open(problem, masks, dual.bound) or problem.scores.size > MILP_ENTRIES or monotonic() > deadline:
        return _Answer(masks, dual.bound, "best-response")
    found, bound = prove(problem, dual.prices, problem.value(masks), time_limit=_left(deadline))
    return _better(problem, masks, found, _Answer(masks, min(bound, dual.bound), "best-response"))


def _diverse(problem: Instance, deadline: float) -> _Answer:
    """One linear program where it is exact and small, otherwise best responses and, where small, HiGHS."""
    if problem.unit and problem.scores.size <= FLOW_ENTRIES:
        found, prices = flow(problem)
        if found is not None:
            dual = _descend(problem, prices, problem.value(found))
            return _Answer(found, dual.bound, "flow")
    masks = _polished(problem, responses(problem, problem.scores))
    dual = _descend(problem, first_prices(problem, masks), problem.value(masks))
    answer = _Answer(masks, dual.bound, "best-response")
    if not _open(problem, masks, dual.bound) or problem.scores.size > MILP_ENTRIES or monotonic() > deadline:
        return answer
    found, bound = prove_diverse(problem, problem.value(masks), time_limit=_left(deadline))
    return _better(problem, masks, found, replace(answer, bound=min(bound, dual.bound)))


def _better(problem: Instance, masks: Bools, found: Bools | None, answer: _Answer) -> _Answer:
    """Prefer HiGHS' masks only if they are really worth more."""
    if found is not None and problem.value(found) > problem.value(masks) + 1e-9 * abs(problem.value(masks)):
        return _Answer(found, answer.bound, "milp")
    return answer


def _polished(problem: Instance, masks: Bools) -> Bools:
    sweeps = 20 if problem.unit else max(1, min(20, 2000 // problem.clients))
    return polish(problem, masks, sweeps=sweeps)


def _descend(problem: Instance, prices: NDArray[np.float64], target: float) -> Dual:
    """Lower the dual as far as the work limit allows; prices of zero are the fallback that is always valid."""
    steps = int(np.clip(DUAL_WORK // problem.scores.size, 20, 400))
    free = evaluate(problem, np.zeros(problem.clients))
    best = lower(problem, prices, target, steps=steps, stop=1e-12 if problem.scores.size <= LARGE else 1e-5)
    return min(best, free, key=lambda dual: dual.bound)


def _rounding(problem: Instance) -> float:
    """Return what summing scores in another order may add."""
    return 1e-15 * float(np.abs(problem.scores).sum())


def _floor(problem: Instance) -> float:
    return max(float(np.abs(problem.scores).max()), 1e-300)


def _open(problem: Instance, masks: Bools, bound: float) -> bool:
    value = problem.value(masks)
    return bound - value > CLOSED * max(abs(value), _floor(problem))


def _left(deadline: float) -> float | None:
    return None if isinf(deadline) else deadline - monotonic()


def _value(problem: Instance, masks: Bools) -> float:
    if isinf(problem.consensus):
        return float(problem.scores[masks].sum())
    return problem.value(masks)


def _canonical(problem: Instance) -> NDArray[np.int64]:
    """Return an order of the clients that depends on their data alone, so that their numbering does not matter."""
    keys = [problem.budgets, problem.scores.sum(axis=1)]
    if problem.scores.size <= 1_000_000:
        keys += [*problem.costs.T, *problem.scores.T]
    return np.lexsort(keys[::-1]).astype(np.int64)


def _affordable(masks: Bools, problem: Instance, costs: ArrayLike | None, budgets: ArrayLike) -> Bools:
    """Drop the least valuable layer while rounding puts a client over its budget, measured without tolerance."""
    masks = masks.copy()
    while not (fits := within(masks, costs, budgets)).all():
        for client in np.flatnonzero(~fits):
            worth = np.where(masks[client], problem.scores[client], np.inf)
            masks[client, int(np.argmin(worth))] = False
    return masks


def _certify(problem: Instance, masks: Bools, bound: float, rule: str) -> Solution:
    objective = _value(problem, masks)
    bound = max(bound, objective)
    gap = (bound - objective) / max(abs(objective), _floor(problem))
    return Solution(masks, objective, bound, gap, rule)
