"""A certificate under unit costs: the Lagrangian dual of the budgets, lowered by a deflected Polyak subgradient method.

With a price ``mu_i >= 0`` on each client's budget, the layers separate, and for a fixed load ``k`` the best set of a
layer is the ``k`` largest of ``s_il - mu_i``::

    D(mu) = sum_i mu_i R_i + sum_l max_k [ (sum of the k largest s_il - mu_i) - penalty(k) ]

``D(mu)`` is an upper bound on P1 at *any* ``mu >= 0`` (weak duality), so the certificate does not depend on
convergence, only its tightness does. Direction: Camerini, Fratta, Maffioli, "On improving relaxation methods by
modified gradient techniques", Math. Programming Study 3, 1975, https://doi.org/10.1007/BFb0120697.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstrata.solvers.objective import Bools, Floats, Instance

PATIENCE = 12
"""Evaluations without progress after which the step is halved and the descent restarts from its best point."""
STALLED = 4
"""Halvings in a row that together close less than a twentieth of the gap, after which the descent ends."""
BLOCK = 400_000
"""Matrix entries that one step of an evaluation holds, so that it stays in the processor's cache."""
HALF = 1_000_000
"""Entries above which the descent looks at float32 scores; the bound that it returns is evaluated in float64."""

Columns = NDArray[np.floating[Any]]


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


def evaluate(problem: Instance, prices: Floats, columns: Columns | None = None) -> Dual:
    """Return D(mu) at prices of shape ``[clients]``, with a subgradient ``budgets - spent``.

    Args:
        problem: Consensus and diversity finite.
        prices: mu, shape ``[clients]``.
        columns: The scores transposed and contiguous, ``[layers, clients]``, where many evaluations share them;
            in float32 the result is an estimate, no bound.

    Example:
        >>> round(evaluate(Instance(np.array([[3.0, 1.0]]), np.ones(1), 0.0, 0.0), np.array([2.0])).bound, 6)
        3.0
    """
    columns = np.ascontiguousarray(problem.scores.T) if columns is None else columns
    penalty = problem.penalties()
    best, size, spent = np.zeros(problem.layers), 0.0, np.zeros(problem.clients)
    loads = np.zeros(problem.layers, dtype=np.int64)
    step = max(BLOCK // max(problem.clients, 1), 1)
    paid = prices.astype(columns.dtype)
    for low, high in pairwise([*range(0, problem.layers, step), problem.layers]):
        reduced = columns[low:high] - paid
        ranked = np.sort(reduced, axis=1)[:, ::-1]
        # worth[l, k - 1] = (sum of the k largest s_il - mu_i) - penalty(k); a load of 0 is worth 0.
        worth = np.cumsum(ranked, axis=1, dtype=np.float64)
        worth -= penalty[1:]
        rows, top = np.arange(high - low), worth.argmax(axis=1)
        taken = worth[rows, top] > 0
        best[low:high] = np.where(taken, worth[rows, top], 0.0)
        loads[low:high] = np.where(taken, top + 1, 0)
        # Whoever is at or above the k-th largest takes the layer: the slope is R_i less what i takes.
        threshold = np.where(taken, ranked[rows, top], np.inf)
        spent += _taken(reduced, threshold[:, None], loads[low:high])
        size += float(np.abs(reduced, out=reduced).sum())
    # D(mu) = sum_i mu_i R_i + sum_l max_k worth.
    income = float(prices @ problem.budgets)
    bound = income + float(best.sum())
    return Dual(
        prices, bound + _guard(problem, income + size + float(penalty[loads].sum())), spent, loads.astype(np.float64)
    )


def _taken(reduced: Columns, threshold: Columns, loads: NDArray[np.int64]) -> Floats:
    """Return how many of some layers each client takes; clients that tie at a threshold share it evenly."""
    reached = reduced >= threshold
    counts = np.asarray(reached.sum(axis=0), dtype=np.float64)
    for row in np.flatnonzero(reached.sum(axis=1) > loads):
        level = reduced[row] == threshold[row]
        counts -= level * (1 - (loads[row] - (reduced[row] > threshold[row]).sum()) / level.sum())
    return counts


def _guard(problem: Instance, size: float) -> float:
    """Return more than rounding can take from a bound whose terms add up to ``size`` without their signs."""
    return float(np.finfo(np.float64).eps) * (problem.clients + problem.layers + 8) * size


def load_values(problem: Instance, prices: Floats) -> tuple[Floats, float]:
    """Return each layer's worth by its load, ``[layers, clients + 1]``, and D(mu) with its guard."""
    worth = np.zeros((problem.layers, problem.clients + 1))
    np.cumsum(-np.sort(prices - problem.scores.T, axis=1), axis=1, out=worth[:, 1:])
    worth -= problem.penalties()
    return worth, evaluate(problem, prices).bound


def first_prices(problem: Instance, masks: Bools) -> Floats:
    """Return prices at which a good primal answer is nearly the relaxed one. Shape ``[clients]``.

    A client's price lies between the worth of its best layer left out and of its worst layer taken.
    """
    others = masks.sum(axis=0) - masks
    worth = problem.scores + problem.marginals(others.astype(np.float64))
    inside = np.where(masks, worth, np.inf).min(axis=1)
    outside = np.where(masks, -np.inf, worth).max(axis=1)
    # A client with room for one more pays what its best missing layer is worth: mostly nothing.
    full = masks.sum(axis=1) + 1 > problem.budgets
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
    columns = _columns(problem)
    best = point = evaluate(problem, start, columns)
    scale, idle, before = 1.0, 0, [best.bound]
    direction = np.zeros(problem.clients)
    for _ in range(steps):
        room = best.bound - target
        if room <= stop * abs(target) or scale < 1e-4:
            break
        direction = _deflect(problem, point, direction)
        norm = float(direction @ direction)
        if norm == 0.0:
            break
        # Polyak's step: as far as would reach the target if the dual were linear.
        move = scale * max(point.bound - target, room) / norm
        point = evaluate(problem, np.maximum(point.prices - move * direction, 0.0), columns)
        progressed = point.bound < best.bound - 1e-3 * scale * room
        idle = 0 if progressed else idle + 1
        best = min(best, point, key=lambda dual: dual.bound)
        # Stuck: halve the step, and start anew from the best point, without its past directions.
        if idle >= PATIENCE:
            scale, idle, point, direction = scale / 2, 0, best, np.zeros(problem.clients)
            before.append(best.bound)
            if len(before) > STALLED and before[-1 - STALLED] - best.bound < 0.05 * (best.bound - target):
                break
    # In float32 the dual is an estimate; only float64 is a bound.
    return best if columns.dtype == np.float64 else evaluate(problem, best.prices)


def _columns(problem: Instance) -> Columns:
    """Return the scores by layer, in half the bytes where they are many and float32 can hold them."""
    largest = float(np.abs(problem.scores).max(initial=0.0))
    small = problem.scores.size > HALF and 1e-20 < largest < 1e30
    return np.asarray(np.ascontiguousarray(problem.scores.T, dtype=np.float32 if small else np.float64))


def _deflect(problem: Instance, point: Dual, before: Floats) -> Floats:
    # A price of 0 cannot fall: such a coordinate would only shorten the step.
    gradient = problem.budgets - point.spent
    return deflected(np.where((point.prices <= 0) & (gradient > 0), 0.0, gradient), before)


def deflected(slope: Floats, before: Floats) -> Floats:
    """Return a subgradient turned away from going back on the direction before it; both of one shape."""
    square, overlap = float(np.vdot(before, before)), float(np.vdot(slope, before))
    if square == 0.0 or overlap >= 0.0:
        return slope
    # Camerini, Fratta and Maffioli's factor: the new direction has an acute angle with the last one.
    return np.asarray(slope - 1.5 * overlap / square * before)
