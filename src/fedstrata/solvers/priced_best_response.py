"""Good masks under set-up costs and several budgets: ``solvers/best_response.py`` with exact answers of any price.

Linearising the concave consensus penalty at the current loads never lowers the objective; then clients answer the
others one after another, and layers are tried in or out for everybody at once.
"""

from __future__ import annotations

import numpy as np

from fedstrata.solvers.best_response import moves
from fedstrata.solvers.client_masks import Priced, exact, quick
from fedstrata.solvers.objective import Bools, Floats

SWEEPS = 30
"""Rounds of best responses at most."""
NEAR = 8
"""Layers on either side that exchanges consider."""


def climb(problem: Priced, loads: Floats, *, steps: int = 20) -> Bools:
    """Climb from several load vectors, shape ``[starts, layers]``, and return the best masks.

    Args:
        problem: Consensus finite; diversity 0.
        loads: Any real numbers.
        steps: Iterations at most.
    """
    n, layers = problem.objective.scores.shape
    best, best_value = np.zeros((n, layers), dtype=np.bool_), 0.0
    reached = np.full(len(loads), -np.inf)
    known: Bools | None = None
    for _ in range(steps):
        masks = _at(problem, loads, known)
        found = np.array([problem.objective.value(mask) for mask in masks])
        top = int(np.argmax(found))
        if found[top] > best_value:
            best, best_value = masks[top], float(found[top])
        # A start that gains no more is at a fixed point and drops out.
        climbing = found > reached + 1e-12 * np.abs(found)
        if not climbing.any():
            break
        loads, reached = masks[climbing].sum(axis=1).astype(np.float64), found[climbing]
        known = masks[climbing].reshape(-1, layers)
    return best


def starts(problem: Priced) -> Floats:
    """Return load vectors to climb from, ``[starts, layers]``: each client's own choice, common ones, and blends."""
    n, scores = problem.clients, problem.objective.scores
    own = quick(problem, problem.everyone, scores).masks
    loads = own.sum(axis=0).astype(np.float64)
    shared = quick(problem, problem.everyone, np.tile(scores.mean(axis=0), (n, 1))).masks.sum(axis=0)
    rows = [loads, np.full(problem.layers, n / 2), shared.astype(np.float64), np.clip(2 * loads - n / 2, 0, n)]
    # The first layers of three rankings for everybody, as many as quantiles of the clients take by themselves.
    for ranking in (scores.sum(axis=0), loads, shared):
        place = np.argsort(np.argsort(-ranking, kind="stable"), kind="stable")
        for share in (0.25, 0.5, 0.75, 1.0):
            width = int(np.ceil(np.quantile(own.sum(axis=1), share)))
            common = np.where(place < width, float(n), 0.0)
            rows += [common, (loads + common) / 2]
    return np.array(rows)


def shared_sets(problem: Priced, *, work: int) -> Floats:
    """Return loads of sets of layers that all train, grown one layer at a time by what the set is then worth.

    Args:
        problem: Consensus finite; diversity 0.
        work: Entries ``clients * units * layers`` times sets that may be tried.
    """
    n, layers = problem.objective.scores.shape
    sets, inside = [], np.zeros(layers, dtype=np.bool_)
    value = 0.0
    budget = work // max(problem.costs.size, 1)
    while budget >= layers and not inside.all():
        trials = np.flatnonzero(~inside)
        # The set with each of the other layers in turn.
        loads = np.repeat(np.where(inside, float(n), 0.0)[None], len(trials), axis=0)
        loads[np.arange(len(trials)), trials] = n
        budget -= len(trials)
        worths = np.array([problem.objective.value(masks) for masks in _at(problem, loads, None)])
        best = int(np.argmax(worths))
        # No further layer makes the set worth more.
        if worths[best] <= value:
            break
        value, inside[trials[best]] = worths[best], True
        sets.append(loads[best])
    return np.array(sets).reshape(-1, layers)


def _at(problem: Priced, loads: Floats, known: Bools | None) -> Bools:
    """Return all clients' masks where the penalty is linearised at each of several loads, ``[starts, n, layers]``."""
    n, layers = problem.objective.scores.shape
    # Minorise: the penalty's slope at these loads. Maximise: everybody's best mask at scores less slopes.
    slopes = problem.objective.consensus * (n - 2 * loads)
    worth = (problem.objective.scores[None] - slopes[:, None, :]).reshape(-1, layers)
    rows = np.tile(problem.everyone, len(loads))
    return quick(problem, rows, worth, known=known, rough=True).masks.reshape(-1, n, layers)


def polish(problem: Priced, masks: Bools, *, sweeps: int = SWEEPS, precise: bool = True) -> Bools:
    """Best responses, client by client, until none gains; never lowers the objective."""
    masks = masks.copy()
    objective, respond = problem.objective, exact if precise else quick
    for _ in range(sweeps):
        loads = masks.sum(axis=0).astype(np.float64)
        worth = objective.scores + objective.marginals(loads - masks)
        answers = respond(problem, problem.everyone, worth, known=masks).masks
        gains = np.where(answers, worth, 0.0).sum(axis=1) - np.where(masks, worth, 0.0).sum(axis=1)
        eager = np.flatnonzero(gains > 1e-12 * np.abs(worth).sum(axis=1))
        if not len(eager):
            break
        # Largest gain first. Answers are of the sweep's beginning; one that no longer gains is not taken.
        for client in eager[np.argsort(-gains[eager], kind="stable")]:
            mine = objective.scores[client] + objective.marginals(loads - masks[client])
            gain = float(mine[answers[client]].sum() - mine[masks[client]].sum())
            if gain > 1e-12 * float(np.abs(mine).sum()):
                loads += answers[client].astype(np.float64) - masks[client]
                masks[client] = answers[client]
    return masks


def force(problem: Priced, masks: Bools, *, work: int) -> Bools:
    """Try layers in or out for all clients and climb again; return the best masks.

    Args:
        problem: Consensus finite; diversity 0.
        masks: Where to begin.
        work: Entries ``clients * units * layers`` times moves that may be tried in all.
    """
    value = problem.objective.value(masks)
    for _ in range(10):
        trials = moves(problem.objective, masks, work // max(problem.costs.size, 1), near=NEAR, turns=False)
        if not len(trials):
            break
        best = polish(problem, climb(problem, trials, steps=4))
        work -= problem.costs.size * len(trials)
        if problem.objective.value(best) <= value + 1e-12 * abs(value):
            break
        masks, value = best, problem.objective.value(best)
    return masks
