"""Proven optima under set-up costs and several budgets: HiGHS over whole masks and loads, thinned by the decomposition.

One binary per client and mask that an optimum may hold (exactly one per client), and one per layer and load::

    maximise   sum_ic value_ic x_ic - sum_lk penalty(k) z_lk
    subject to sum_c x_ic = 1,   sum_k z_lk = 1,   sum_ic [l in c] x_ic = sum_k k z_lk,
               z_ln <= sum_c [l in c] x_ic <= 1 - z_l0   (implied, but much tighter when relaxed).

A mask (or load) whose client (or layer) would lose more against its best at multipliers lambda than ``D(lambda)`` is
above the known objective cannot be part of anything better, and is left out. Budgets are not rows of the program: only
affordable masks are columns, so HiGHS' tolerances cannot exceed them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import LinearConstraint
from scipy.sparse import csr_array

from fedstrata.solvers.client_masks import Priced, within_slack
from fedstrata.solvers.decomposition import Point
from fedstrata.solvers.exact import TOLERANCE, highs
from fedstrata.solvers.objective import Bools, Floats
from fedstrata.solvers.tariff import Ints

COLUMNS = 800
"""Masks and loads for which HiGHS is asked, at most."""
WORK = 200_000
"""The same times ``clients * layers``: beyond it HiGHS' own bound is weaker than the dual's in any reasonable time."""
NODES = 60
"""Branch-and-bound nodes at most."""


def prove(
    problem: Priced, point: Point, incumbent: float, *, time_limit: float | None = None
) -> tuple[Bools | None, float]:
    """Return better masks, if HiGHS finds any, and an upper bound on the problem.

    Args:
        problem: Consensus finite.
        point: A good dual point, precisely evaluated.
        incumbent: Objective of known masks; worse ones are not looked for.
        time_limit: Seconds.
    """
    scores = problem.objective.scores
    # Reduced costs: what loses more than the gap against its best is in no better answer.
    slack = point.bound - incumbent + 1e-9 * (abs(incumbent) + float(np.abs(scores).max()))
    layer, load = np.nonzero(point.worth >= point.worth.max(axis=1, keepdims=True) - slack)
    limit = min(COLUMNS, WORK // max(scores.size, 1)) - len(layer)
    columns = within_slack(problem, scores - point.multipliers, point.values - slack, limit=limit)
    if columns is None:
        return None, point.bound
    clients, masks = columns
    # Coefficients near 100, so that HiGHS' absolute tolerances mean the same at every scale.
    penalty = problem.objective.penalties()[load]
    scale = 100.0 / max(float(np.abs(scores).max()), 1e-300)
    gains = np.where(masks, scores[clients], 0.0).sum(axis=1)
    found, least = highs(
        np.concatenate([-gains, penalty]) * scale,
        np.ones(len(clients) + len(layer)),
        _rows(problem, clients, masks, layer, load),
        nodes=NODES,
        gap=0.0,
        time_limit=time_limit,
    )
    # What HiGHS' tolerances may hide of the optimum.
    guard = TOLERANCE * (float(np.abs(gains).max(initial=0.0)) + float(penalty.max(initial=0.0)))
    bound = min(point.bound, max(incumbent, -least / scale) + guard)
    return (None if found is None else _chosen(problem, clients, masks, found[: len(clients)])), bound


def _chosen(problem: Priced, clients: Ints, masks: Bools, weights: Floats) -> Bools:
    found = np.zeros(problem.objective.scores.shape, dtype=np.bool_)
    for column in np.flatnonzero(weights > 0.5):
        found[int(clients[column])] = masks[column]
    return found


def _rows(problem: Priced, clients: Ints, masks: Bools, layer: Ints, load: Ints) -> list[LinearConstraint]:
    """Return the equality rows (one mask per client, one load per layer, loads that add up) and the tightening ones."""
    n, layers, many = problem.clients, problem.layers, len(clients)
    column, held = np.nonzero(masks)
    choice = np.arange(len(layer)) + many
    # Rows: one mask per client; one load per layer; masks that hold a layer = its load.
    row = np.concatenate([clients, n + layer, n + layers + held, n + layers + layer])
    where = np.concatenate([np.arange(many), choice, column, choice])
    what = np.concatenate([np.ones(many + len(layer) + len(held)), -load.astype(np.float64)])
    matrix = csr_array((what, (row, where)), shape=(n + 2 * layers, many + len(layer)))
    right = np.concatenate([np.ones(n + layers), np.zeros(layers)])
    return [LinearConstraint(matrix, right, right), _agreement(problem, clients, masks, layer, load)]


def _agreement(problem: Priced, clients: Ints, masks: Bools, layer: Ints, load: Ints) -> LinearConstraint:
    """Return ``z_ln <= m_il <= 1 - z_l0``: a layer that all (or none) train is trained by each (or by none)."""
    n, layers, many = problem.clients, problem.layers, len(clients)
    column, held = np.nonzero(masks)
    entry = clients[column] * layers + held
    # Rows: z_ln - m_il <= 0 for every entry, then m_il + z_l0 <= 1.
    parts = [(entry, column), (n * layers + entry, column)]
    signs = [-np.ones(len(entry)), np.ones(len(entry))]
    for half, which in ((0, load == n), (1, load == 0)):
        ends = np.flatnonzero(which)
        rows = (half * n * layers + np.arange(n)[:, None] * layers + layer[ends]).ravel()
        parts.append((rows, np.tile(ends + many, n)))
        signs.append(np.ones(len(rows)))
    row, where = (np.concatenate(side) for side in zip(*parts, strict=True))
    matrix = csr_array((np.concatenate(signs), (row, where)), shape=(2 * n * layers, many + len(layer)))
    return LinearConstraint(matrix, -np.inf, np.concatenate([np.zeros(n * layers), np.ones(n * layers)]))
