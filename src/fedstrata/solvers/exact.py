"""Proven optima of small consensus problems: HiGHS on a count formulation, thinned by the Lagrangian bound.

Binary ``z_lk`` says "k clients train layer l", so the penalty is linear in z; for fixed loads and unit costs the rest
is a transport problem, so m may stay continuous. A load k of layer l at which even ``D(mu)`` falls below the best known
objective cannot be optimal, and its ``z_lk`` is left out (reduced-cost fixing), which is what makes the program small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, kron

from fedstrata.solvers.bound import load_values
from fedstrata.solvers.objective import Bools, Floats, Instance

NODES = 3000
"""Branch-and-bound nodes at most."""
RELATIVE = 1e-7
"""Gap at which HiGHS may stop."""
TINY = 1e-200
"""Scores up to this size are zero to HiGHS."""
TOLERANCE = 1e-7
"""HiGHS' feasibility tolerance, in units of the largest coefficient; every bound of HiGHS is raised by it."""


def prove(
    problem: Instance, prices: Floats, incumbent: float, *, time_limit: float | None = None
) -> tuple[Bools | None, float]:
    """Return better masks, if HiGHS finds any, and an upper bound on the problem.

    Args:
        problem: Unit costs, consensus finite, diversity 0.
        prices: Budget prices of a good dual point, shape ``[clients]``.
        incumbent: Objective of known masks; worse solutions are not looked for.
        time_limit: Seconds.
    """
    layer, load = _candidates(problem, prices, incumbent)
    penalty = problem.penalties()[load]
    scale = objective_scale(problem)
    cost = np.concatenate([-problem.scores.ravel(), penalty]) * scale
    # Columns: m_il, then z_lk. Rows: budgets; one load per layer; sum_i m_il = sum_k k z_lk.
    one = csr_array((np.ones(len(layer)), (layer, np.arange(len(layer)))), shape=(problem.layers, len(layer)))
    count = csr_array((load.astype(float), (layer, np.arange(len(layer)))), shape=one.shape)
    rules = [
        LinearConstraint(
            hstack([spending_matrix(problem), csr_array((problem.clients, len(layer)))]), ub=problem.budgets
        ),
        LinearConstraint(hstack([csr_array((problem.layers, problem.scores.size)), one]), 1, 1),
        LinearConstraint(hstack([load_matrix(problem), -count]), 0, 0),
    ]
    # Only z has to be whole: for fixed loads the rest is a transport problem.
    whole = np.concatenate([np.zeros(problem.scores.size), np.ones(len(layer))])
    # What HiGHS' tolerances may hide of the optimum.
    guard = TOLERANCE * (float(np.abs(problem.scores).max()) + float(penalty.max(initial=0.0)))
    found, least = highs(cost, whole, rules, nodes=NODES, gap=RELATIVE, time_limit=time_limit)
    bound = max(incumbent, -least / scale) + guard
    if found is None:
        return None, bound
    # Tolerances must not spend: masks are rounded, and those over a budget are dropped.
    masks = found[: problem.scores.size].reshape(problem.scores.shape) > 0.5
    return (masks if (masks.sum(axis=1) <= problem.budgets).all() else None), bound


def highs(
    cost: Floats, whole: Floats, rules: list[LinearConstraint], *, nodes: int, gap: float, time_limit: float | None
) -> tuple[Floats | None, float]:
    """Run HiGHS on variables from 0 to 1; return the least cost's, if any were found, and a lower bound on that cost.

    Args:
        cost: What is minimised, by variable.
        whole: 1 for a variable that has to be 0 or 1.
        rules: What has to hold.
        nodes: Branch-and-bound nodes at most: a count, not a clock, so that answers are repeatable.
        gap: Relative gap at which HiGHS may stop; it stays in the bound.
        time_limit: Seconds.
    """
    options = {"mip_rel_gap": gap, "node_limit": nodes}
    if time_limit is not None:
        options["time_limit"] = max(time_limit, 1e-3)
    answer = milp(cost, integrality=whole, bounds=Bounds(0, 1), constraints=rules, options=options)
    bound = answer.get("mip_dual_bound")
    return answer.x, float(bound) if bound is not None and np.isfinite(bound) else -np.inf


def _candidates(problem: Instance, prices: Floats, incumbent: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (layer, load) pairs that an optimum may still have."""
    table, total = load_values(problem, prices)
    # D(mu) where layer l is held at load k; below the incumbent no optimum has that load.
    hope = total - table.max(axis=1, keepdims=True) + table
    slack = 1e-9 * (abs(incumbent) + float(np.abs(problem.scores).max()))
    layer, load = np.nonzero(hope >= incumbent - slack)
    return layer.astype(np.int64), load.astype(np.int64)


def objective_scale(problem: Instance) -> float:
    """Return what the objective is multiplied by, so that HiGHS' absolute tolerances mean the same at every scale."""
    largest = float(np.abs(problem.scores).max())
    return 100.0 / (largest if largest > TINY else max(problem.consensus, problem.diversity, TINY))


def spending_matrix(problem: Instance) -> csr_array:
    """Return the matrix of the budget rows: client i pays 1 for each m_il."""
    rows = np.repeat(np.arange(problem.clients), problem.layers)
    columns = np.arange(problem.scores.size)
    return csr_array((np.ones(problem.scores.size), (rows, columns)), shape=(problem.clients, problem.scores.size))


def load_matrix(problem: Instance) -> csr_array:
    """Return the matrix that sums masks to loads: one row per layer."""
    return csr_array(kron(np.ones((1, problem.clients)), np.eye(problem.layers), format="csr"))
