"""Consensus with unit costs: good masks, then a bound, and more work only while the gap between them is open.

Many clients are first solved on an even sample of them, with the weight scaled so that ``consensus * clients`` stays
what it is: only the *shares* of the clients that train each layer matter to the ascent, and a sample estimates them.
"""

from __future__ import annotations

from math import isinf
from time import monotonic

import numpy as np

from fedstrata.solvers.best_response import ascend, force, polish, responses, starts
from fedstrata.solvers.bound import Dual, evaluate, first_prices, lower
from fedstrata.solvers.exact import prove
from fedstrata.solvers.objective import Bools, Floats, Instance

CLOSED = 1e-10
"""Relative gap at which masks count as optimal and the search stops."""
SMALL = 20_000
"""Entries up to which ``CLOSED`` is asked for; above them a proof to ``PROVEN``, above ``LARGE`` to ``ENOUGH``."""
PROVEN = 5e-7
ENOUGH = 1e-5
MILP_ENTRIES = 1500
"""Largest ``clients * layers`` for which HiGHS is asked for a proof."""
LARGE = 1_000_000
"""Entries above which a gap of ``ENOUGH`` is good enough to stop."""
DUAL_WORK = 300_000_000
"""Matrix entries that one descent of the dual may touch; a count, not a clock."""
SAMPLE = 1000
"""Clients of the sample; twice as many clients are sampled."""


def agree(problem: Instance, deadline: float) -> tuple[Bools, float, str]:
    """Return masks, an upper bound on every affordable answer, and the rule that chose the masks.

    Args:
        problem: Unit costs, consensus finite and above 0, diversity 0; clients in an order that their data decide.
        deadline: ``time.monotonic()`` after which no proof is begun or continued; ``inf`` for none.

    Example:
        >>> problem = Instance(np.array([[3.0, 2.0], [1.0, 2.0]]), np.ones(2), consensus=1.0, diversity=0.0)
        >>> masks, bound, rule = agree(problem, float("inf"))
        >>> masks.astype(int).tolist(), round(bound, 9), rule
        ([[1, 0], [1, 0]], 4.0, 'best-response')
    """
    # 1. Climb, then bound. Most instances are proven here.
    masks = polished(problem, ascend(problem, first_loads(problem))[0])
    dual = descend(problem, first_prices(problem, masks), problem.value(masks))
    if not is_open(problem, masks, dual.bound) or monotonic() > deadline:
        return masks, dual.bound, "best-response"
    # 2. The relaxed loads and forced moves may lead to better masks, and these to a better bound.
    better = _improved(problem, masks, dual)
    if problem.value(better) > problem.value(masks):
        masks = better
        dual = min(dual, descend(problem, dual.prices, problem.value(masks)), key=lambda point: point.bound)
    if not is_open(problem, masks, dual.bound) or problem.scores.size > MILP_ENTRIES or monotonic() > deadline:
        return masks, dual.bound, "best-response"
    # 3. Small and still open: HiGHS, whose masks count if they are better by more than rounding.
    left = None if isinf(deadline) else deadline - monotonic()
    found, bound = prove(problem, dual.prices, problem.value(masks), time_limit=left)
    bound = min(bound, dual.bound)
    if found is not None and problem.value(found) > problem.value(masks) + 1e-9 * abs(problem.value(masks)):
        return found, bound, "milp"
    return masks, bound, "best-response"


def first_loads(problem: Instance) -> Floats:
    """Return load vectors to climb from, ``[starts, layers]``: those of a solved sample where clients are many.

    A sample says well how many clients train a common layer, but not which layer that is: so its loads are
    tried in the order of the layers' summed scores, as they are and with common layers for everybody. Beside them
    stands the one of the usual starts whose first answer is best: a climb is dear where clients are many.
    """
    if problem.clients <= 2 * SAMPLE:
        return starts(problem)
    part = sample(problem, SAMPLE)
    masks = force(part, polished(part, ascend(part, starts(part))[0]))
    n = float(problem.clients)
    loads = masks.sum(axis=0) * (n / SAMPLE)
    total = problem.scores.sum(axis=0)
    own = responses(problem, problem.scores).sum(axis=0).astype(np.float64)
    # Common layers for everybody, as many as the smallest, the median and the largest budget pay for.
    widths = np.unique(np.quantile(problem.budgets, (0.0, 0.5, 1.0)).round())
    everybody = np.where(np.arange(problem.layers) < widths[:, None], n, 0.0)
    rest = [loads, own, *(_ranked(row, total) for row in everybody)]
    # One step from each tells which is worth a climb.
    first = [ascend(problem, row[None], steps=1)[1] for row in rest]
    ranked = _ranked(np.sort(loads)[::-1], total)
    return np.array([ranked, np.where(ranked > n / 2, n, ranked), rest[int(np.argmax(first))]])


def _ranked(loads: Floats, total: Floats) -> Floats:
    """Give loads in falling order to the layers in the order of their summed scores."""
    given = np.empty(len(loads))
    given[np.argsort(-total, kind="stable")] = loads
    return given


def sample(problem: Instance, size: int) -> Instance:
    """Return every so manieth client, with the weights that keep the balance of scores and penalty.

    Example:
        >>> problem = Instance(np.array([[1.0], [2.0], [3.0], [4.0]]), np.ones(4), consensus=0.5, diversity=0.0)
        >>> part = sample(problem, 2)
        >>> part.scores.tolist(), part.consensus
        ([[2.0], [4.0]], 1.0)
    """
    # The middle of each of ``size`` equal stretches of the clients.
    rows = ((2 * np.arange(size) + 1) * problem.clients) // (2 * size)
    more = problem.clients / size
    return Instance(
        problem.scores[rows],
        problem.budgets[rows],
        problem.consensus * more,
        problem.diversity * more,
    )


def descend(problem: Instance, prices: Floats, target: float) -> Dual:
    """Lower the dual as far as the work limit allows; prices of zero are the fallback that is always valid."""
    steps = int(np.clip(DUAL_WORK // problem.scores.size, 20, 400))
    # At prices of 0 nobody's budget binds: always a bound, and tight where budgets are ample.
    free = evaluate(problem, np.zeros(problem.clients))
    best = lower(problem, prices, target, steps=steps, stop=_closed(problem) / 2)
    return min(best, free, key=lambda dual: dual.bound)


def _closed(problem: Instance) -> float:
    """Return the relative gap that is good enough for a problem of this size."""
    if problem.scores.size <= SMALL:
        return CLOSED
    return PROVEN if problem.scores.size <= LARGE else ENOUGH


def polished(problem: Instance, masks: Bools) -> Bools:
    """Let single clients answer, with fewer sweeps the more clients there are."""
    return polish(problem, masks, sweeps=int(np.clip(200_000 // problem.clients, 1, 20)))


def is_open(problem: Instance, masks: Bools, bound: float) -> bool:
    """Return whether masks and bound are too far apart to call the masks optimal."""
    value = problem.value(masks)
    return bound - value > _closed(problem) * max(abs(value), float(np.abs(problem.scores).max()), 1e-300)


def _improved(problem: Instance, masks: Bools, dual: Dual) -> Bools:
    """Return the best of the masks, what the relaxed loads lead to, and forced moves from there."""
    relaxed = polished(problem, ascend(problem, dual.loads[None])[0])
    return force(problem, max(masks, relaxed, key=problem.value))
