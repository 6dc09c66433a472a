"""A certificate for P1: the Lagrangian dual of the budgets, lowered by a deflected Polyak subgradient method.

With a price ``mu_i >= 0`` on each client's budget, the layers separate, and for a fixed load ``k`` the best set of a
layer is the ``k`` largest of ``s_il - mu_i cost_il``::

    D(mu) = sum_i mu_i R_i + sum_l max_k [ (sum of the k largest s_il - mu_i cost_il) - penalty(k) ]

``D(mu)`` is an upper bound on P1 at *any* ``mu >= 0`` (weak duality), so the certificate does not depend on
convergence, only its tightness does. Direction: Camerini, Fratta, Maffioli, "On improving relaxation methods by
modified gradient techniques", Math. Programming Study 3, 1975, https://doi.org/10.1007/BFb0120697.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.solvers.problem import Bools, Floats, Instance

PATIENCE = 12
"""Evaluations without progress after which the step is halved and the descent restarts from its best point."""


@dataclass(frozen=True, slots=True)
class Dual:
    """The dual function at one price vector.

    Attributes:
        prices: mu, shape ``[clients]``, at least 0.
        bound: D(mu), raised by a bound on its own rounding error.
        spent: What the clients spend in the relaxed solution, shape ``[clients]``.
        loads: The relaxed solution's number of clients per layer, shape ``[layers]``.
    """

    prices: Floats
    bound: float
    spent: Floats
    loads: Floats


def evaluate(problem: Instance, prices: Floats) -> Dual:
    """Return D(mu) at prices of shape ``[clients]``, with a subgradient ``budgets - spent``.

    Example:
        >>> from fedstrata.solvers.problem import instance
        >>> round(evaluate(instance([[3.0, 1.0]], [1]), np.array([2.0])).bound, 6)
        3.0
    """
    return _dual(problem, prices, *_table(problem, prices))


def load_values(problem: Instance, prices: Floats) -> tuple[Floats, float]:
    """Return each layer's worth by its load, ``[layers, clients + 1]``, and D(mu) with its guard."""
    reduced, ranked, worth = _table(problem, prices)
    return worth, _dual(problem, prices, reduced, ranked, worth).bound


def _dual(problem: Instance, prices: Floats, reduced: Floats, ranked: Floats, worth: Floats) -> Dual:
    loads = worth.argmax(axis=1)
    best = worth[np.arange(problem.layers), loads]
    chosen = _share(reduced, ranked, loads)
    bound = float(prices @ problem.budgets + best.sum())
    size = float(prices @ problem.budgets + np.abs(reduced).sum() + problem.penalties()[loads].sum())
    guard = float(np.finfo(np.float64).eps) * (problem.clients + problem.layers + 8) * size
    return Dual(prices, bound + guard, (problem.costs * chosen.T).sum(axis=1), loads.astype(np.float64))


def _table(problem: Instance, prices: Floats) -> tuple[Floats, Floats, Floats]:
    """Return reduced scores, their negation in ascending order, and each layer's worth by load."""
    reduced = np.ascontiguousarray((problem.scores - prices[:, None] * problem.costs).T)
    ranked = np.sort(-reduced, axis=1)
    worth = np.zeros((problem.layers, problem.clients + 1))
    np.cumsum(-ranked, axis=1, out=worth[:, 1:])
    worth -= problem.penalties()
    return reduced, ranked, worth


def _share(reduced: Floats, ranked: Floats, loads: Floats) -> Floats:
    """Return the relaxed solution, ``[layers, clients]``; clients that tie at the threshold share it evenly."""
    rows = np.arange(len(loads))
    threshold = np.where(loads > 0, -ranked[rows, np.maximum(loads - 1, 0)], np.inf)[:, None]
    above, level = reduced > threshold, reduced == threshold
    ties = np.maximum(level.sum(axis=1), 1)
    return np.asarray(above + level * ((loads - above.sum(axis=1)) / ties)[:, None])


def first_prices(problem: Instance, masks: Bools) -> Floats:
    """Return prices at which a good primal answer is nearly the relaxed one. Shape ``[clients]``.

    A client's price lies between the worth per cost of its best layer left out and of its worst layer taken.
    """
    others = masks.sum(axis=0) - masks
    density = (problem.scores + problem.marginals(others.astype(np.float64))) / problem.costs
    inside = np.where(masks, density, np.inf).min(axis=1)
    outside = np.where(masks, -np.inf, density).max(axis=1)
    full = (problem.costs * masks).sum(axis=1) + problem.costs.min(axis=1) > problem.budgets
    low = np.maximum(outside, 0.0)
    middle = np.where(np.isfinite(inside), (np.maximum(inside, low) + low) / 2, low)
    return np.asarray(np.where(full, middle, low))


def lower(problem: Instance, start: Floats, target: float, *, steps: int, stop: float = 1e-12) -> Dual:
    """Return the best dual point found from ``start``, going down towards ``target`` (a known objective).

    Args:
        problem: Instance with finite consensus.
        start: First prices, shape ``[clients]``.
        target: Objective of feasible masks: the dual cannot go below it.
        steps: Number of evaluations.
        stop: Gap to the target, relative to it, at which the descent ends.
    """
    best = point = evaluate(problem, start)
    scale, idle = 1.0, 0
    direction = np.zeros(problem.clients)
    for _ in range(steps):
        room = best.bound - target
        if room <= stop * abs(target) or scale < 1e-4:
            break
        direction = _deflect(problem, point, direction)
        norm = float(direction @ direction)
        if norm == 0.0:
            break
        move = scale * max(point.bound - target, room) / norm
        point = evaluate(problem, np.maximum(point.prices - move * direction, 0.0))
        progressed = point.bound < best.bound - 1e-3 * scale * room
        idle = 0 if progressed else idle + 1
        best = min(best, point, key=lambda dual: dual.bound)
        if idle >= PATIENCE:
            scale, idle, point, direction = scale / 2, 0, best, np.zeros(problem.clients)
    return best


def _deflect(problem: Instance, point: Dual, before: Floats) -> Floats:
    gradient = problem.budgets - point.spent
    gradient = np.where((point.prices <= 0) & (gradient > 0), 0.0, gradient)
    square = float(before @ before)
    overlap = float(gradient @ before)
    if square == 0.0 or overlap >= 0.0:
        return gradient
    return np.asarray(gradient - 1.5 * overlap / square * before)
