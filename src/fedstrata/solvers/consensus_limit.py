"""The consensus limit: all clients agree as far as the budgets allow, and scores decide only between such masks.

With unit costs, "as far as the budgets allow" means: every client spends its whole budget, and ``sum_l k_l (n - k_l)``
is the smallest that spending allows. Then ``sum_l k_l`` is fixed, so ``sum_l k_l^2`` is the largest, which only nested
masks reach (Gale and Ryser: the conjugate of the budgets majorises every other load vector). Nested masks are an order
of the layers of which client i takes the first R_i; the best order is a linear assignment of layers to places::

    worth of layer l at place p = sum of s_il over the clients with R_i >= p

For equal budgets that is the R layers of largest summed score. (The literal limit of a growing finite weight would
leave every client at the smallest budget, or below it; we spend what clients offer.) With other costs no such form is
known: clients go down the ranking by summed score and pass over what they cannot pay (``solvers/priced.py``).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from fedstrata.solvers.objective import Bools, Instance


def common(problem: Instance) -> Bools:
    """Return nested masks; optimal among masks of greatest agreement where costs are unit.

    Example:
        >>> scores = np.array([[3.0, 1.0, 0.0], [0.0, 2.5, 0.0]])
        >>> common(Instance(scores, np.array([1.0, 2.0]), float("inf"), 0.0)).astype(int).tolist()
        [[1, 0, 0], [1, 1, 0]]
    """
    counts = problem.counts
    places = int(counts.max(initial=0))
    reaches = np.arange(1, places + 1)[:, None] <= counts[None, :]
    # worth[p, l] = sum of s_il over the clients whose budget reaches place p.
    worth = reaches.astype(np.float64) @ problem.scores
    if counts.min(initial=places) == places:
        # Every client reaches every place, so a layer is worth the same on each.
        order = np.argsort(-problem.scores.sum(axis=0), kind="stable")[:places]
    else:
        order = linear_sum_assignment(worth, maximize=True)[1]
    masks = np.zeros(problem.scores.shape, dtype=np.bool_)
    masks[:, order] = reaches.T
    return masks
