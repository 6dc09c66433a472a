"""Good masks for the bound: best responses from several starts, and layers taken in or out by all clients at once.

One client's best answer to the others is exact: layers add up (``MassProblem.gains``). No single client may want to
begin a layer, though, or to leave it; so starts and moves change a layer for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from fedstrata.solvers.mass_problem import MassProblem
from fedstrata.solvers.objective import Bools, Floats
from fedstrata.solvers.tariff import Ints

SWEEPS = 50
"""Rounds of best responses at most."""
WORK = 120_000
"""Entries ``clients * layers`` times masks that may be polished: a count, no clock, so that answers are repeatable."""


def ascend(problem: MassProblem, more: list[Bools]) -> Bools:
    """Return the best masks found.

    Args:
        problem: What is minimised.
        more: Affordable masks to start from besides.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    n, layers = problem.shape
    work = WORK // 10 if problem.searched else WORK
    allowed = max(work // max(n * layers, 1), 8)
    best, value = np.zeros((n, layers), dtype=np.bool_), float(problem.missing.sum())
    # Every start is polished; then moves of the best one, until none gains.
    starts = list(_some(chain(more, _starts(problem)), allowed))
    allowed = max(allowed - len(starts), 4)
    for masks in starts:
        found = polish(problem, masks)
        if problem.value(found) < value:
            best, value = found, problem.value(found)
    for _ in range(10):
        trials = [polish(problem, masks) for masks in _some(_moves(problem, best), allowed)]
        allowed -= len(trials)
        found = min(trials, key=problem.value, default=best)
        if problem.value(found) >= value * (1 - 1e-12):
            return best
        best, value = found, problem.value(found)
    return best


def polish(problem: MassProblem, masks: Bools) -> Bools:
    """Best responses, one client after another, until none gains; never raises F.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    masks = masks.copy()
    for _ in range(SWEEPS):
        worth = problem.gains(masks)
        answers = problem.answers(np.arange(len(masks)), worth)
        eager = np.flatnonzero(_better(worth, answers, masks))
        if not _sweep(problem, masks, eager, answers):
            break
    return masks


def _sweep(problem: MassProblem, masks: Bools, eager: Ints, answers: Bools) -> bool:
    """Let some clients answer in turn, in place; return whether anyone moved.

    Where an answer is a search, those that were found for all at once serve, and are taken if they still gain.
    """
    masses, loads = problem.shares @ masks, masks.sum(axis=0)
    moved = False
    for client in eager:
        own, share = masks[client], problem.shares[client]
        mine = problem.gain(share, masses - share * own, loads - own)[None]
        answer = answers[[client]] if problem.priced is not None else problem.answers(np.array([client]), mine)
        if _better(mine, answer, own[None])[0]:
            change = answer[0].astype(np.int64) - own
            masses, loads, masks[client], moved = masses + share * change, loads + change, answer[0], True
    return moved


def toward(problem: MassProblem, wanted: Floats) -> Bools:
    """Return masks whose masses come near to those wanted, shape ``[layers]``: largest shares choose first.

    Example:
        See ``tests/solvers/test_mass_problem.py``.
    """
    masks = np.zeros(problem.shape, dtype=np.bool_)
    left = wanted.copy()
    for client in np.argsort(-problem.shares, kind="stable"):
        masks[client] = problem.answers(np.array([client]), np.maximum(left, 0.0)[None])[0]
        left = left - problem.shares[client] * masks[client]
    return masks


def _better(worth: Floats, answers: Bools, masks: Bools) -> Bools:
    gained = np.where(answers, worth, 0.0).sum(axis=1) - np.where(masks, worth, 0.0).sum(axis=1)
    return np.asarray(gained > 1e-12 * np.abs(worth).sum(axis=1))


def _starts(problem: MassProblem) -> Iterator[Bools]:
    """Yield empty masks, layers of largest G or of largest G + kappa^2 for all, greedy ones, and each layer alone."""
    n, layers = problem.shape
    everyone = np.arange(n)
    yield np.zeros((n, layers), dtype=np.bool_)
    for ranking in (problem.missing, problem.missing + problem.spread, np.ones(layers)):
        yield problem.answers(everyone, np.tile(ranking, (n, 1)))
    masses = np.sqrt(problem.spread)
    yield toward(problem, masses / max(float(masses.max(initial=0.0)), 1e-300))
    yield toward(problem, np.ones(layers))
    for layer in range(layers):
        yield problem.answers(everyone, np.tile(np.eye(layers)[layer], (n, 1)))


def _moves(problem: MassProblem, masks: Bools) -> Iterator[Bools]:
    """Yield masks with one layer taken in, or given up, by everybody who can; what has to go is what is worth least."""
    n, layers = problem.shape
    everyone = np.arange(n)
    worth = problem.gains(masks)
    # Layers that are held outrank those that are not, by what they gain.
    kept = np.where(masks, 1.0 + np.argsort(np.argsort(worth, axis=1), axis=1) / max(layers, 1), 0.0)
    order = np.argsort(-problem.parts(problem.shares @ masks), kind="stable")
    for layer in order:
        if not masks[:, layer].all():
            # More than all other layers of a mask together.
            pushed = kept.copy()
            pushed[:, layer] = 4.0 * layers
            yield problem.answers(everyone, pushed)
    for layer in order[::-1]:
        if masks[:, layer].any():
            # The others as they are, and what gains in the place of the one given up.
            barred = np.where(worth > 0, worth, 0.0) + kept * float(np.abs(worth).max())
            barred[:, layer] = 0.0
            yield problem.answers(everyone, barred)


def _some(moves: Iterator[Bools], limit: int) -> Iterator[Bools]:
    for _, masks in zip(range(max(limit, 0)), moves, strict=False):
        yield masks
