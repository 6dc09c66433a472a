"""No masks within the budgets have a bound below this: the Lagrangian relaxation of who makes up a layer's mass.

With prices mu_l >= 0 on ``A_l <= sum_i alpha_i m_il``::

    D(mu) = sum_l min(G_l, min_A [h_l(A) + mu_l A]) - sum_i max_{m_i affordable} sum_l alpha_i mu_l m_il

A runs over ``[a_l, 1]`` with a_l the smallest share that may train the layer, so A = clip(sqrt(kappa_l^2 / mu_l)); each
client's maximum is its own exact problem. D is concave; it is raised from the best common price by subgradient steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstrata.solvers.bound import deflected
from fedstrata.solvers.mass_problem import MassProblem
from fedstrata.solvers.objective import Bools, Floats

STEPS = 200
"""Subgradient steps where a client's best mask is a look-up."""
WORK = 60_000
"""Entries ``clients * layers`` times steps where it is a search; three steps at least."""


@dataclass(frozen=True, slots=True)
class MassDual:
    """One point of the dual.

    Attributes:
        prices: mu, shape ``[layers]``.
        bound: D(mu), less what rounding may have added.
        slope: Mass that the layers want and the clients do not give. Shape ``[layers]``.
        masks: The clients' answers. Shape ``[clients, layers]``.
    """

    prices: Floats
    bound: float
    slope: Floats
    masks: Bools


def lower_bound(problem: MassProblem, target: float) -> MassDual:
    """Return the best dual point found, going up towards ``target``, F of known masks.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    n, layers = problem.shape
    steps = int(np.clip(WORK // (n * layers), 3, STEPS)) if problem.searched else STEPS
    smallest = smallest_shares(problem)
    best = point = evaluate(problem, _common(problem, smallest), smallest)
    scale, idle, direction = 1.0, 0, np.zeros(layers)
    for _ in range(steps):
        room = target - best.bound
        if room <= 1e-12 * target or scale < 1e-4:
            break
        direction = deflected(np.where((point.prices <= 0) & (point.slope < 0), 0.0, point.slope), direction)
        norm = float(direction @ direction)
        if norm == 0:
            break
        # Polyak's step: as far as would reach the target if the dual were linear.
        move = scale * max(target - point.bound, room) / norm
        point = evaluate(problem, np.maximum(point.prices + move * direction, 0.0), smallest)
        idle = 0 if point.bound > best.bound + 1e-3 * scale * room else idle + 1
        best = max(best, point, key=lambda dual: dual.bound)
        # Stuck: halve the step, and start anew from the best point.
        if idle >= 5:
            scale, idle, point, direction = scale / 2, 0, best, np.zeros(layers)
    return best


def evaluate(problem: MassProblem, prices: Floats, smallest: Floats) -> MassDual:
    """Return D at prices, shape ``[layers]``, at least 0.

    Args:
        problem: What is minimised.
        prices: mu.
        smallest: a_l, as ``smallest_shares`` returns them.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    parts, masses = _layers(problem, prices, smallest)
    masks, paid = problem.offers(problem.shares[:, None] * prices)
    guard = 1e-13 * (float(parts.sum()) + paid)
    return MassDual(prices, float(parts.sum()) - paid - guard, masses - problem.shares @ masks, masks)


def _layers(problem: MassProblem, prices: Floats, smallest: Floats) -> tuple[Floats, Floats]:
    """Return each layer's minimum, and the mass at which it is; ``prices``: ``[..., layers]``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wanted = np.where(prices > 0, np.sqrt(problem.spread / prices), 1.0)
    # h_l(A) + mu A is least at A = sqrt(kappa^2 / mu); nobody can have less than a_l or more than all.
    masses = np.clip(wanted, smallest, 1.0)
    parts = problem.spread * (1.0 / masses - 1.0) + prices * masses
    # A_l = 0 costs G_l and asks for no mass.
    absent = (problem.missing <= parts) | np.isinf(smallest)
    return np.where(absent, problem.missing, parts), np.where(absent, 0.0, masses)


def smallest_shares(problem: MassProblem) -> Floats:
    """Return a_l, the smallest share above 0 of a client that can pay for the layer; ``inf`` where no client can.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    n, layers = problem.shape
    able = np.zeros((n, layers), dtype=np.bool_)
    # With one layer worth anything, whoever can pay for it answers with it.
    for layer in range(layers):
        worth = np.zeros((n, layers))
        worth[:, layer] = 1.0
        able[:, layer] = problem.answers(np.arange(n), worth)[:, layer]
    able &= problem.shares[:, None] > 0
    return np.asarray(np.where(able, problem.shares[:, None], np.inf).min(axis=0, initial=np.inf))


def _common(problem: MassProblem, smallest: Floats) -> Floats:
    """Return the best price that is the same for all layers: then a client offers its share as often as it can pay."""
    n, layers = problem.shape
    # At one price a client offers its share as often as it can pay for layers, whatever the price is.
    offered = float(problem.shares @ problem.answers(np.arange(n), np.ones((n, layers))).sum(axis=1))
    largest = max(float(problem.missing.max(initial=0.0)), float(problem.spread.max(initial=0.0)), 1e-300)
    trials = np.concatenate([[0.0], largest * np.logspace(-8, 4, 200)])
    parts, _ = _layers(problem, trials[:, None] * np.ones(layers), smallest)
    found = parts.sum(axis=1) - trials * offered
    return np.full(layers, trials[int(found.argmax())])
