"""Tiny instances with set-ups and several budgets, and their optimum by looking at every answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments of ``solve``."""

    scores: Floats
    budgets: Floats
    costs: Floats
    setups: Floats
    consensus: float
    diversity: float


def case(seed: int, *, clients: int = 3, layers: int = 4) -> Case:
    """Return a random instance: three in seven have whole numbers (ties), one in five budgets is 0, inf or exact."""
    rng = np.random.default_rng(seed)
    units, whole = int(rng.integers(1, 4)), seed % 7 < 3
    shape = (units, clients, layers)
    scores = rng.normal(0.7, 1.0, size=(clients, layers)) if seed % 3 else rng.exponential(size=(clients, layers))
    costs, setups = rng.uniform(0, 2, size=shape), rng.uniform(0, 2, size=shape)
    if seed % 5 == 0:
        setups = np.sort(setups, axis=2)[:, :, ::-1].copy()
    if whole:
        scores = rng.integers(-1, 4, size=(clients, layers)).astype(np.float64)
        costs, setups = np.floor(1.5 * costs), np.floor(1.5 * setups)
    costs[rng.random(shape) < 0.1] = 0.0
    most = costs.sum(axis=2) + setups.max(axis=2)
    budgets = rng.uniform(0.1, 1.1, size=most.shape) * most
    if whole:
        budgets = np.round(budgets)
    special = rng.random(most.shape)
    budgets = np.where(special < 0.05, 0.0, np.where(special < 0.1, inf, np.where(special < 0.2, most, budgets)))
    weight = float(rng.choice([0.0, 0.05, 0.2, 0.5, 1.0, 3.0]))
    consensus, diversity = (weight, 0.0) if rng.integers(2) else (0.0, weight)
    return Case(scores, budgets, costs, setups, consensus, diversity)


@cache
def subsets(layers: int) -> Floats:
    return np.array(list(product([0, 1], repeat=layers)), dtype=np.float64)


@cache
def answers(clients: int, layers: int) -> tuple[tuple[NDArray[np.int64], ...], Floats]:
    """Return every combination of subsets, and its loads."""
    combined = np.meshgrid(*[np.arange(1 << layers)] * clients, indexing="ij")
    loads: Floats = np.sum([subsets(layers)[choice] for choice in combined], axis=0)
    return tuple(combined), loads


def payable(budgets: Floats, costs: Floats, setups: Floats, client: int, mask: Floats) -> bool:
    """Return whether a client can pay for a mask, by the definition itself."""
    if not mask.any():
        return True
    lowest = int(mask.argmax())
    return all(
        setups[unit, client, lowest] + costs[unit, client] @ mask <= budgets[unit, client]
        for unit in range(len(budgets))
    )


def optimum(given: Case) -> float:
    """Return the best objective over all answers."""
    n, layers = given.scores.shape
    masks = subsets(layers)
    combined, loads = answers(n, layers)
    total = -(given.consensus * loads * (n - loads) + given.diversity * loads**2).sum(axis=-1)
    for client, choice in enumerate(combined):
        fits = np.array([payable(given.budgets, given.costs, given.setups, client, mask) for mask in masks])
        total = total + np.where(fits, masks @ given.scores[client], -inf)[choice]
    return float(total.max())
