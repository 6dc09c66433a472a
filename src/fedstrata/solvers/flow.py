"""Diversity (``diversity * sum_l k_l^2``): a convex-cost flow, solved exactly by one linear program.

The k-th client on a layer pays ``diversity (2 k - 1)``, so a layer is a bundle of unit arcs of rising price that fill
in order by themselves. With unit costs the matrix is a network's, hence totally unimodular, and every vertex is
integral (Ahuja, Magnanti, Orlin, "Network Flows", 1993, ch. 14).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack

from fedstrata.solvers.exact import load_matrix, objective_scale, spending_matrix
from fedstrata.solvers.problem import Bools, Floats, Instance


def flow(problem: Instance) -> tuple[Bools | None, Floats]:
    """Return the optimal masks (or ``None`` if the program failed) and budget prices that certify them.

    Args:
        problem: Unit costs, consensus 0, diversity finite.

    Example:
        >>> from fedstrata.solvers.problem import instance
        >>> flow(instance([[2.0, 1.5], [2.0, 1.5]], [1, 1], diversity=0.5))[0].sum(axis=0).tolist()
        [1, 1]
    """
    arcs, cost = _arcs(problem)
    blank = csr_array((problem.clients, problem.scores.size))
    answer = linprog(
        cost,
        A_ub=hstack([spending_matrix(problem), blank], format="csr"),
        b_ub=problem.budgets,
        A_eq=hstack([load_matrix(problem), -arcs], format="csr"),
        b_eq=np.zeros(problem.layers),
        bounds=(0, 1),
        method="highs-ds",
    )
    if answer.x is None:
        return None, np.zeros(problem.clients)
    masks = answer.x[: problem.scores.size].reshape(problem.scores.shape) > 0.5
    prices = np.maximum(-answer.ineqlin.marginals / objective_scale(problem), 0.0)
    return (masks if (masks.sum(axis=1) <= problem.budgets).all() else None), prices


def _arcs(problem: Instance) -> tuple[csr_array, Floats]:
    """Return the matrix that sums a layer's unit arcs, and the scaled costs of masks and arcs to minimise."""
    n, layers = problem.clients, problem.layers
    rows = np.repeat(np.arange(layers), n)
    arcs = csr_array((np.ones(n * layers), (rows, np.arange(n * layers))), shape=(layers, n * layers))
    price = np.tile(problem.diversity * (2.0 * np.arange(1, n + 1) - 1.0), layers)
    return arcs, np.concatenate([-problem.scores.ravel(), price]) * objective_scale(problem)
