"""Diversity with unit costs: one linear program where it is small, best responses and the dual where it is large.

``diversity * sum_l k_l^2`` is a convex-cost flow: the k-th client on a layer pays ``diversity (2 k - 1)``, so a layer
is a bundle of unit arcs of rising price that fill in order by themselves. With unit costs the matrix is a network's,
hence totally unimodular, and every vertex is integral (Ahuja, Magnanti, Orlin, "Network Flows", 1993, ch. 14). The
program is exact up to HiGHS' tolerances; polishing its masks settles what they leave undecided.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack

from fedstrata.solvers.agree import descend, polished
from fedstrata.solvers.best_response import responses
from fedstrata.solvers.bound import first_prices
from fedstrata.solvers.exact import load_matrix, objective_scale, spending_matrix
from fedstrata.solvers.objective import Bools, Floats, Instance

FLOW_ENTRIES = 40_000
"""Largest ``clients * layers`` for which diversity is solved as one linear program."""


def diverse(problem: Instance, deadline: float) -> tuple[Bools, float, str]:
    """Return masks, an upper bound on every affordable answer, and the rule that chose the masks.

    Args:
        problem: Unit costs, consensus 0, diversity finite and above 0.
        deadline: Part of the drivers' common form; nothing here takes long enough to ask for it.

    Example:
        >>> problem = Instance(np.array([[2.0, 1.5], [2.0, 1.5]]), np.ones(2), consensus=0.0, diversity=0.5)
        >>> masks, bound, rule = diverse(problem, float("inf"))
        >>> masks.sum(axis=0).tolist(), round(bound, 6), rule
        ([1, 1], 2.5, 'flow')
    """
    if problem.scores.size <= FLOW_ENTRIES:
        found, prices = flow(problem)
        if found is not None:
            masks = polished(problem, found)
            return masks, descend(problem, prices, problem.value(masks)).bound, "flow"
    # Too large for the program, or HiGHS gave it up.
    masks = polished(problem, responses(problem, problem.scores))
    return masks, descend(problem, first_prices(problem, masks), problem.value(masks)).bound, "best-response"


def flow(problem: Instance) -> tuple[Bools | None, Floats]:
    """Return the optimal masks (or ``None`` if the program failed) and budget prices that certify them.

    Args:
        problem: Unit costs, consensus 0, diversity finite.

    Example:
        See ``tests/solvers/test_diverse.py``.
    """
    arcs, cost = _arcs(problem)
    blank = csr_array((problem.clients, problem.scores.size))
    # maximise sum s m - sum price * arc, with sum_l m_il <= R_i and sum_i m_il = sum of the arcs of l.
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
    # A vertex is whole up to HiGHS' tolerance; whether it is affordable is counted.
    masks = answer.x[: problem.scores.size].reshape(problem.scores.shape) > 0.5
    # Dual values of the budget rows are the prices mu of ``bound.py``.
    prices = np.maximum(-answer.ineqlin.marginals / objective_scale(problem), 0.0)
    return (masks if (masks.sum(axis=1) <= problem.budgets).all() else None), prices


def _arcs(problem: Instance) -> tuple[csr_array, Floats]:
    """Return the matrix that sums a layer's unit arcs, and the scaled costs of masks and arcs to minimise."""
    n, layers = problem.clients, problem.layers
    rows = np.repeat(np.arange(layers), n)
    arcs = csr_array((np.ones(n * layers), (rows, np.arange(n * layers))), shape=(layers, n * layers))
    # diversity * k^2 is the sum of diversity * (2 j - 1) over j = 1 to k.
    price = np.tile(problem.diversity * (2.0 * np.arange(1, n + 1) - 1.0), layers)
    return arcs, np.concatenate([-problem.scores.ravel(), price]) * objective_scale(problem)
