"""Masks and a certificate under set-up costs and several budgets: climb, bound, and where small, prove."""

from __future__ import annotations

from math import inf, isinf
from time import monotonic

import numpy as np

from fedstrata.solvers.client_masks import Priced, affordable, exact, quick
from fedstrata.solvers.decomposition import Point, evaluate, first_multipliers, lower, lower_by_cuts
from fedstrata.solvers.objective import Bools
from fedstrata.solvers.priced_best_response import climb, force, polish, shared_sets, starts
from fedstrata.solvers.priced_exact import prove

CLOSED = 1e-10
"""Relative gap at which masks count as optimal and the search stops."""
PRECISE = 400_000
"""Entries ``clients * units * layers`` up to which the dual solves the clients' problems exactly."""
LARGE = 50_000
"""Entries ``clients * units * layers`` above which one descent has to do, and a gap of 1e-5 is good enough to stop."""
DUAL_WORK = 200_000
"""Entries that one descent of the dual may evaluate; at least three times, at most sixty."""
TABLE_STEPS = 150
"""The same where masks are tabulated."""
START_WORK = 400_000
"""Entries from which climbs may start; at least three do."""
SWEEP_WORK = 500_000
"""Entries that one polish may touch; one sweep at least, thirty at most."""
WORK = 500_000
"""Entries that forced moves may touch at a time; a count, not a clock, so that answers are repeatable."""


def solve_priced(problem: Priced, deadline: float) -> tuple[Bools, float, str]:
    """Return masks, an upper bound and the rule that chose, for any sign of the knob.

    Args:
        problem: Consensus may be ``inf``: masks of the common ranking, without a certificate.
        deadline: ``time.monotonic()`` after which no proof is begun or continued.
    """
    objective = problem.objective
    if isinf(objective.consensus):
        return ranked(problem), inf, "common-prefix"
    if objective.consensus == 0 and objective.diversity == 0:
        answers = exact(problem, problem.everyone, objective.scores)
        return answers.masks, float(answers.bounds.sum()), "knapsack"
    return _certified(problem, deadline)


def ranked(problem: Priced) -> Bools:
    """Return the limit of infinite consensus: every client goes down one ranking of the layers, by summed score.

    A client takes each layer with which its mask is still affordable, and passes over the others (with set-ups, the
    first layer of the ranking may be one that it cannot reach).

    Example:
        >>> from fedstrata.solvers.client_masks import priced
        >>> from fedstrata.solvers.objective import Objective
        >>> from fedstrata.solvers.tariff import tariff
        >>> scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
        >>> problem = priced(Objective(scores, inf, 0.0), tariff([4.0, 2.0], (2, 3), setups=[2.0, 1.0, 0.0]))
        >>> ranked(problem).astype(int).tolist()
        [[1, 1, 0], [0, 1, 0]]
    """
    masks = np.zeros(problem.objective.scores.shape, dtype=np.bool_)
    # Everybody takes the layer, then those who cannot pay give it back.
    for layer in np.argsort(-problem.objective.scores.sum(axis=0), kind="stable"):
        masks[:, layer] = True
        masks[~affordable(problem, problem.everyone, masks), layer] = False
    return masks


def _certified(problem: Priced, deadline: float) -> tuple[Bools, float, str]:
    """Climb and bound, first quickly, then again from what the dual says, and only then ask HiGHS."""
    objective = problem.objective
    # 1. Climb, then bound.
    masks = _first(problem)
    point = _descend(problem, _begin(problem, masks), masks)
    if not _open(problem, masks, point) or monotonic() > deadline:
        return masks, point.bound, "best-response"
    masks = _improved(problem, masks, point)
    if problem.costs.size > LARGE:
        return masks, point.bound, "best-response"
    # 2. Layers forced in or out for all, and the bound once more, from better masks.
    if objective.consensus > 0:
        masks = force(problem, masks, work=WORK)
    point = _descend(problem, point, masks)
    masks = _improved(problem, masks, point)
    known = objective.value(masks)
    if not _open(problem, masks, point) or monotonic() > deadline:
        return masks, point.bound, "best-response"
    # 3. Small and still open: HiGHS over the masks and loads that the bound leaves.
    found, bound = prove(problem, point, known, time_limit=None if isinf(deadline) else deadline - monotonic())
    if found is not None and objective.value(found) > known + 1e-9 * abs(known):
        return found, bound, "milp"
    return masks, bound, "best-response"


def _first(problem: Priced) -> Bools:
    """Return the first good masks: the best of several climbs, or with diversity each client's own, polished."""
    if problem.objective.consensus > 0:
        loads = np.concatenate([shared_sets(problem, work=WORK), starts(problem)])
        together = climb(problem, loads[: max(START_WORK // max(problem.costs.size, 1), 3)])
    else:
        # The penalty of diversity is convex: linearised it bounds nothing, so there is no climb.
        together = quick(problem, problem.everyone, problem.objective.scores).masks
    return _polished(problem, together)


def _improved(problem: Priced, masks: Bools, point: Point) -> Bools:
    """Return the best of known masks, the dual's masks, and what its loads lead to."""
    trials = [masks, _polished(problem, point.masks)]
    if problem.objective.consensus > 0:
        trials.append(_polished(problem, climb(problem, point.loads[None])))
    return max(trials, key=problem.objective.value)


def _polished(problem: Priced, masks: Bools) -> Bools:
    sweeps = int(np.clip(SWEEP_WORK // max(problem.costs.size, 1), 1, 30))
    return polish(problem, masks, sweeps=sweeps, precise=len(problem.table) > 0 or problem.costs.size <= LARGE)


def _begin(problem: Priced, masks: Bools) -> Point:
    return evaluate(problem, first_multipliers(problem, masks), known=masks, precise=_precise(problem))


def _descend(problem: Priced, point: Point, masks: Bools) -> Point:
    """Lower the dual: with tables every evaluation is cheap; otherwise a model saves most of them."""
    stop = 1e-11 if problem.costs.size <= LARGE else 1e-5
    target = problem.objective.value(masks)
    if len(problem.table):
        return lower(problem, point, target, steps=TABLE_STEPS, stop=stop)
    steps = int(np.clip(DUAL_WORK // max(problem.costs.size, 1), 3, 60))
    return lower_by_cuts(problem, point, target, masks[None], steps=steps, stop=stop, precise=_precise(problem))


def _precise(problem: Priced) -> bool:
    return bool(len(problem.table)) or problem.costs.size <= PRECISE


def _open(problem: Priced, masks: Bools, point: Point) -> bool:
    value = problem.objective.value(masks)
    return point.bound - value > CLOSED * max(abs(value), float(np.abs(problem.objective.scores).max()), 1e-300)
