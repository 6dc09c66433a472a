"""A certificate under set-up costs and several budgets: Lagrangian decomposition into clients and layers.

Every choice ``m_il`` is copied: x obeys the client's budgets, y carries the layer's penalty, and multipliers tie them::

    D(lambda) = sum_i max_{x_i affordable} sum_l (s_il - lambda_il) x_il
              + sum_l max_k [ (sum of the k largest lambda_il) - penalty(k) ]

is an upper bound at *any* lambda. With the clients' problems solved exactly it is at least as tight as the dual of the
budgets (``solvers/bound.py``): the case ``lambda_il = s_il - mu_i cost_il`` with fractional masks. Guignard and Kim,
"Lagrangean decomposition", Mathematical Programming 39, 1987, https://doi.org/10.1007/BF02592954. Lowered by
deflected Polyak steps towards a known objective (Camerini, Fratta, Maffioli 1975, as in ``solvers/bound.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.solvers.bound import deflected
from fedstrata.solvers.client_masks import Priced, exact, quick, relaxed_prices
from fedstrata.solvers.objective import Bools, Floats

PATIENCE = 10
"""Evaluations without progress after which the step is halved and the descent restarts from its best point."""
POOL = 80
"""Masks per client that the model of ``lower_by_cuts`` remembers."""
POOL_ENTRIES = 1_000_000
"""Entries ``clients * masks * layers`` of that model at most."""
INNER = 50
"""Most steps on the model between exact evaluations."""
LEAST = 1e-3
"""Share of the gap to the target below which no more is asked of the model."""


@dataclass(frozen=True, slots=True)
class Point:
    """The dual function at one table of multipliers.

    Attributes:
        multipliers: lambda, shape ``[clients, layers]``.
        bound: D(lambda), raised by a bound on its own rounding error.
        masks: The clients' affordable copies x. Shape ``[clients, layers]``.
        values: What each client's copy is worth at most. Shape ``[clients]``.
        worth: Each layer's worth by load, shape ``[layers, clients + 1]``.
        slope: y - x: a subgradient. Shape ``[clients, layers]``.
    """

    multipliers: Floats
    bound: float
    masks: Bools
    values: Floats
    worth: Floats
    slope: Floats

    @property
    def loads(self) -> Floats:
        """How many clients train each layer in the layers' copies y. Shape ``[layers]``."""
        return np.asarray(self.worth.argmax(axis=1), dtype=np.float64)


def evaluate(problem: Priced, multipliers: Floats, *, known: Bools | None = None, precise: bool = True) -> Point:
    """Return D(lambda), or with ``precise=False`` a cheaper bound above it that relaxes the clients' problems.

    Args:
        problem: Consensus finite.
        multipliers: lambda, shape ``[clients, layers]``, finite.
        known: Affordable masks that may be good at these multipliers, shape ``[clients, layers]``.
        precise: Solve the clients' problems exactly.

    Example:
        >>> from fedstrata.solvers.client_masks import priced
        >>> from fedstrata.solvers.objective import Objective
        >>> from fedstrata.solvers.tariff import tariff
        >>> problem = priced(Objective(np.array([[3.0, 1.0]]), 0.0, 0.0), tariff([2.5], (1, 2), setups=[1.0, 1.0]))
        >>> round(evaluate(problem, np.zeros((1, 2))).bound, 6), round(evaluate(problem, np.ones((1, 2))).bound, 6)
        (3.0, 4.0)
    """
    scores = problem.objective.scores
    # First sum of D: every client's best x at worths s - lambda.
    answers = (exact if precise else quick)(problem, problem.everyone, scores - multipliers, known=known)
    penalties = problem.objective.penalties()
    # Second sum: every layer's best load at lambda.
    worth, chosen = _layers_side(multipliers, penalties)
    bound = float(answers.bounds.sum() + worth.max(axis=1).sum())
    size = float(np.abs(multipliers).sum() + np.abs(scores).sum() + penalties[worth.argmax(axis=1)].sum())
    # More than rounding can have taken from a sum of this size.
    guard = float(np.finfo(np.float64).eps) * (problem.clients + problem.layers + 8) * size
    return Point(multipliers, bound + guard, answers.masks, answers.bounds, worth, chosen - answers.masks)


def first_multipliers(problem: Priced, masks: Bools) -> Floats:
    """Return multipliers at which good masks are nearly both copies' answer. Shape ``[clients, layers]``.

    At the penalty's marginals the clients answer with these masks; at the scores less each layer's part of what the
    mask pays, the layers do. Every layer goes from the first towards the second only as far as it needs to.
    """
    objective = problem.objective
    marginals = objective.marginals((masks.sum(axis=0) - masks).astype(np.float64))
    fair = _less_paid(problem, masks, relaxed_prices(problem, objective.scores + marginals))
    penalties, loads = objective.penalties(), masks.sum(axis=0)
    least, shares = np.full(problem.layers, np.inf), np.zeros(problem.layers)
    slack = 1e-3 * float(np.abs(objective.scores).max())
    for share in np.linspace(0.0, 1.0, 17):
        # Excess: what a layer's best copy is worth more than the given masks, at this share of the way.
        trial = share * fair - (1 - share) * marginals
        excess = _layers_side(trial, penalties)[0].max(axis=1) - (
            np.where(masks, trial, 0).sum(axis=0) - penalties[loads]
        )
        shares = np.where(excess < least - slack, share, shares)
        least = np.where(excess < least - slack, excess, least)
    return np.asarray(shares * fair - (1 - shares) * marginals)


def _less_paid(problem: Priced, masks: Bools, prices: Floats) -> Floats:
    """Return scores less what layers cost at given prices; the lowest of a mask pays its set-up."""
    costs = np.einsum("ru,rul->rl", prices, problem.costs)
    setups = np.einsum("ru,rul->rl", prices, problem.setups)
    lowest = np.where(masks.any(axis=1), masks.argmax(axis=1), problem.layers - 1)
    paid = setups[problem.everyone, lowest]
    # A layer below the lowest one would raise the set-up: it pays the difference.
    below = np.arange(problem.layers) < lowest[:, None]
    extra = np.where(below, np.maximum(setups - paid[:, None], 0.0), 0.0)
    extra[problem.everyone, lowest] = paid
    return np.asarray(problem.objective.scores - costs - extra)


def _layers_side(multipliers: Floats, penalties: Floats) -> tuple[Floats, Floats]:
    """Return each layer's worth by load, ``[layers, clients + 1]``, and the best copies y, ``[clients, layers]``."""
    columns = np.ascontiguousarray(multipliers.T)
    ranked = np.sort(-columns, axis=1)
    # worth[l, k] = (sum of the k largest lambda_il) - penalty(k).
    worth = np.zeros((len(columns), len(penalties)))
    np.cumsum(-ranked, axis=1, out=worth[:, 1:])
    worth -= penalties
    return worth, _share(columns, ranked, worth.argmax(axis=1)).T


def _share(columns: Floats, ranked: Floats, loads: Floats) -> Floats:
    """Return the layers' copies, ``[layers, clients]``; clients that tie at the threshold share it evenly."""
    rows = np.arange(len(loads))
    threshold = np.where(loads > 0, -ranked[rows, np.maximum(loads - 1, 0)], np.inf)[:, None]
    above, level = columns > threshold, columns == threshold
    ties = np.maximum(level.sum(axis=1), 1)
    return np.asarray(above + level * ((loads - above.sum(axis=1)) / ties)[:, None])


def lower(problem: Priced, start: Point, target: float, *, steps: int, stop: float) -> Point:
    """Return the best dual point found from ``start``, going down towards ``target`` (a known objective).

    Args:
        problem: Consensus finite.
        start: Where to begin.
        target: Objective of affordable masks: the dual cannot go below it.
        steps: Number of evaluations.
        stop: Gap to the target, relative to it, at which the descent ends.
    """
    best = point = start
    scale, idle = 1.0, 0
    direction = np.zeros_like(start.slope)
    for _ in range(steps):
        room = best.bound - target
        if room <= stop * abs(target) or scale < 1e-3:
            break
        direction = deflected(point.slope, direction)
        norm = float((direction * direction).sum())
        if norm == 0.0:
            break
        # Polyak's step: as far as would reach the target if the dual were linear.
        move = scale * max(point.bound - target, room) / norm
        point = evaluate(problem, point.multipliers - move * direction, known=point.masks)
        idle = 0 if point.bound < best.bound - 1e-2 * scale * room else idle + 1
        best = min(best, point, key=lambda found: found.bound)
        # Stuck: halve the step, and start anew from the best point, without its past directions.
        if idle >= PATIENCE:
            scale, idle, point, direction = scale / 2, 0, best, np.zeros_like(direction)
    return best


def lower_by_cuts(
    problem: Priced, start: Point, target: float, known: Bools, *, steps: int, stop: float, precise: bool = True
) -> Point:
    """Return the best dual point found, by many cheap steps on a model between few exact evaluations.

    The model lets a client choose only among masks that it answered before, so it lies below the dual; every exact
    evaluation adds its answers (a bundle of disaggregated cuts; Frangioni, "Generalized bundle methods", SIAM J. Optim.
    13(1), 2002, https://doi.org/10.1137/S1052623498342186). When a step does not lower the dual, less is asked of the
    next (a level method).

    Args:
        problem: Consensus finite.
        start: Where to begin.
        target: Objective of affordable masks: the dual cannot go below it.
        known: More affordable masks for the model, shape ``[some, clients, layers]``.
        steps: Number of exact evaluations.
        stop: Gap to the target, relative to it, at which the descent ends.
        precise: Solve the clients' problems exactly.
    """
    best, share, most = start, 1.0, int(np.clip(POOL_ENTRIES // max(start.masks.size, 1), 4, POOL))
    # The empty mask is in the pool: a client may always train nothing.
    pool = np.concatenate([known, np.zeros((1, *start.masks.shape), dtype=np.bool_), start.masks[None]])
    for _ in range(steps):
        room = best.bound - target
        if room <= stop * abs(target) or share < LEAST:
            break
        table = np.ascontiguousarray(pool.transpose(1, 0, 2), dtype=np.float64)
        multipliers = _model_steps(problem, best, best.bound - share * room, table)
        point = evaluate(problem, multipliers, known=best.masks, precise=precise)
        # Ask for more of the gap after a step that lowered the dual, for half of it after one that did not.
        share = min(1.0, 1.5 * share) if point.bound < best.bound - 0.1 * share * room else share / 2
        best = min(best, point, key=lambda found: found.bound)
        pool = np.concatenate([pool, point.masks[None]])[-most:]
    return best


def _model_steps(problem: Priced, start: Point, level: float, pool: Floats) -> Floats:
    """Return multipliers where the model of ``lower_by_cuts`` is near ``level``.

    Args:
        problem: Consensus finite.
        start: Where to begin.
        level: Where to stop.
        pool: The masks of the model, shape ``[clients, masks, layers]``.
    """
    scores, penalties = problem.objective.scores, problem.objective.penalties()
    multipliers, best, least = start.multipliers, start.multipliers, np.inf
    direction = np.zeros_like(multipliers)
    for _ in range(INNER):
        # Clients choose among masks of the pool: a cheap D from below.
        totals = np.matmul(pool, (scores - multipliers)[:, :, None])[:, :, 0]
        chosen = totals.argmax(axis=1)
        worth, copies = _layers_side(multipliers, penalties)
        value = float(totals.max(axis=1).sum() + worth.max(axis=1).sum())
        if value < least:
            best, least = multipliers, value
        direction = deflected(copies - pool[problem.everyone, chosen], direction)
        norm = float((direction * direction).sum())
        if norm == 0.0 or value <= level:
            break
        multipliers = multipliers - (value - level) / norm * direction
    return best
