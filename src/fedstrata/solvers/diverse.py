"""Diversity with unit costs: one linear program where it is small, best responses and the dual where it is large.

The program is exact up to HiGHS' tolerances; polishing its masks settles what they leave undecided.
"""

from __future__ import annotations

from fedstrata.solvers.agree import descend, polished
from fedstrata.solvers.best_response import responses
from fedstrata.solvers.bound import first_prices
from fedstrata.solvers.flow import flow
from fedstrata.solvers.problem import Bools, Instance

FLOW_ENTRIES = 40_000
"""Largest ``clients * layers`` for which diversity is solved as one linear program."""


def diverse(problem: Instance, deadline: float) -> tuple[Bools, float, str]:
    """Return masks, an upper bound on every affordable answer, and the rule that chose the masks.

    Args:
        problem: Unit costs, consensus 0, diversity finite and above 0.
        deadline: Part of the drivers' common form; nothing here takes long enough to ask for it.

    Example:
        >>> from fedstrata.solvers.problem import instance
        >>> masks, bound, rule = diverse(instance([[2.0, 1.5], [2.0, 1.5]], [1, 1], diversity=0.5), float("inf"))
        >>> masks.sum(axis=0).tolist(), round(bound, 6), rule
        ([1, 1], 2.5, 'flow')
    """
    if problem.scores.size <= FLOW_ENTRIES:
        found, prices = flow(problem)
        if found is not None:
            masks = polished(problem, found)
            return masks, descend(problem, prices, problem.value(masks)).bound, "flow"
    masks = polished(problem, responses(problem, problem.scores))
    return masks, descend(problem, first_prices(problem, masks), problem.value(masks)).bound, "best-response"
