"""``solve_mass``: the masks of least measured bound, with a certificate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fedstrata.solvers.mass_best_response import ascend
from fedstrata.solvers.mass_bound import lower_bound
from fedstrata.solvers.mass_exact import alike, enumerated
from fedstrata.solvers.mass_problem import MassProblem, mass_problem
from fedstrata.solvers.objective import Bools
from fedstrata.solvers.solve import Solution
from fedstrata.solvers.tariff import Ints


def solve_mass(
    shares: ArrayLike,
    missing: ArrayLike,
    spread: ArrayLike,
    budgets: ArrayLike,
    *,
    costs: ArrayLike | None = None,
    setups: ArrayLike | None = None,
) -> Solution:
    """Choose every client's layers so that the bound on the round's error is least (``solvers/mass_problem.py``).

    The objective is minus the bound, so that larger is better, as for ``solve``. The same input gives the same answer.
    A layer that lowers the bound for nobody is left out, so a budget may stay unspent.

    Args:
        shares: Each client's rows, or its share of all rows; at least 0. Shape ``[clients]``.
        missing: G_l, what a layer costs that nobody trains. Shape ``[layers]``.
        spread: kappa_l^2, what it costs times ``1 / A_l - 1`` where clients with the share A_l do. Shape ``[layers]``.
        budgets: As for ``solve``.
        costs: As for ``solve``.
        setups: As for ``solve``.

    Returns:
        Rule ``empty``, ``counts`` or ``enumeration`` (both proven), or ``best-response``.

    Raises:
        ConfigError: Wrong shapes, signs or sizes.
        BudgetError: A budget that is negative or not a number.

    Example:
        >>> found = solve_mass([3, 1], missing=[1.0, 0.2], spread=[0.1, 0.1], budgets=[1, 1])
        >>> found.masks.astype(int).tolist(), round(found.objective, 4)
        ([[1, 0], [1, 0]], -0.2)
    """
    given = mass_problem(shares, missing, spread, budgets, costs=costs, setups=setups)
    if not len(given.shares) or not len(given.missing):
        return Solution(np.zeros(given.shape, dtype=np.bool_), 0.0, 0.0, 0.0, "empty")
    # Terms of size 1, and clients in an order that their data alone decide.
    scale = max(float(given.missing.max()), float(given.spread.max()), 1e-300)
    order = _canonical(given)
    problem = mass_problem(
        given.shares[order],
        given.missing / scale,
        given.spread / scale,
        given.tariff.budgets[:, order],
        costs=given.tariff.costs[:, order],
        setups=given.tariff.setups[:, order],
    )
    chosen, bound, rule = _solved(problem)
    masks = np.zeros_like(chosen)
    masks[order] = chosen
    value = given.value(masks)
    bound = min(bound * scale, value)
    return Solution(masks, -value, -bound, (value - bound) / max(value, 1e-12 * scale), rule)


def _solved(problem: MassProblem) -> tuple[Bools, float, str]:
    """Return masks, a lower bound and the rule."""
    for rule, proven in (("counts", alike), ("enumeration", enumerated)):
        found = proven(problem)
        if found is not None:
            return found, problem.value(found), rule
    # Neither case is proven: search, bound, and search again from the bound's own masks.
    masks = ascend(problem, [])
    point = lower_bound(problem, problem.value(masks))
    if problem.value(masks) - point.bound > 1e-9 * problem.value(masks):
        masks = ascend(problem, [masks, point.masks])
    return masks, point.bound, "best-response"


def _canonical(problem: MassProblem) -> Ints:
    """Return an order of the clients that depends on their data alone, so that their numbering does not matter."""
    prices = problem.tariff
    keys = [problem.shares, *prices.budgets]
    keys += [column for table in (prices.costs, prices.setups) for unit in table for column in unit.T]
    return np.lexsort(keys[::-1]).astype(np.int64)
