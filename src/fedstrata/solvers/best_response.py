"""Good masks under unit costs: monotone ascent from several starts, best responses, layers forced in or out for all.

The consensus penalty ``k (n - k)`` is concave in the load ``k``, so linearising it at the current loads minorises the
objective: "every client takes the best layers by ``s_il - consensus (n - 2 k_l)``" never lowers it (minorise-maximise;
Hunter and Lange, "A Tutorial on MM Algorithms", The American Statistician 58, 2004,
https://doi.org/10.1198/0003130042836). Then one client at a time answers the others optimally, and each layer is tried
in or out for everybody at once.
"""

from __future__ import annotations

import numpy as np

from fedstrata.solvers.objective import Bools, Floats, Instance, Objective

WORK = 8_000_000
"""Matrix entries that forced moves may touch; a count, not a clock, so that answers are repeatable."""
NEAR = 40
"""Layers on either side that exchanges consider."""
PASSES = 8
"""Largest count of layers that repeated maxima find faster than a sort."""
BATCH = 1_000_000
"""Matrix entries held at once while climbing; larger problems also use fewer starts."""


def top_rows(worth: Floats, counts: Floats) -> Bools:
    """Return, in each row, the ``counts`` largest positive entries; ties go to the lower layer index.

    Args:
        worth: Shape ``[..., clients, layers]``.
        counts: Whole numbers, shape ``[clients]``.

    Example:
        >>> top_rows(np.array([[1.0, 1.0, -1.0]]), np.array([1.0])).tolist()
        [[True, False, False]]
    """
    layers = worth.shape[-1]
    most = int(min(np.max(counts, initial=0), layers))
    if most <= PASSES:
        return _repeated_argmax(worth, np.asarray(counts), most)
    # Entries above the count-th largest are in; those equal to it, from the left while there is room.
    last = np.clip(layers - counts, 0, layers - 1).astype(np.int64)
    index = np.broadcast_to(last, worth.shape[:-1])[..., None]
    cut = np.take_along_axis(np.sort(worth, axis=-1), index, axis=-1)
    above, level = worth > cut, worth == cut
    room = np.asarray(counts)[:, None] - above.sum(axis=-1, keepdims=True)
    return np.asarray((above | (level & (np.cumsum(level, axis=-1) <= room))) & (worth > 0))


def _repeated_argmax(worth: Floats, counts: Floats, most: int) -> Bools:
    """Return ``top_rows`` for small counts: one pass over the matrix for each place."""
    flat = worth.reshape(-1, worth.shape[-1]).copy()
    masks = np.zeros(flat.shape, dtype=np.bool_)
    rows = np.arange(len(flat))
    room = np.broadcast_to(counts, worth.shape[:-1]).reshape(-1)
    for place in range(most):
        layer = flat.argmax(axis=1)
        masks[rows, layer] |= (flat[rows, layer] > 0) & (room > place)
        flat[rows, layer] = -np.inf
    return masks.reshape(worth.shape)


def responses(problem: Instance, worth: Floats) -> Bools:
    """Return every client's best mask for given worths, shape ``[..., clients, layers]``."""
    return top_rows(worth, problem.budgets)


def values(problem: Instance, masks: Bools) -> Floats:
    """Return the objective of each of a batch of masks, shape ``[batch, clients, layers]``."""
    gains = np.einsum("il,bil->b", problem.scores, masks)
    return np.asarray(gains - problem.penalties()[masks.sum(axis=1)].sum(axis=1))


def ascend(problem: Instance, loads: Floats, *, steps: int = 50) -> tuple[Bools, float]:
    """Climb from each of several load vectors and return the best masks and their objective.

    Args:
        problem: Consensus finite; diversity 0.
        loads: Shape ``[starts, layers]``; any real numbers.
        steps: Iterations at most; the ascent usually stops after a handful.
    """
    best, best_value = np.zeros(problem.scores.shape, dtype=np.bool_), 0.0
    together = max(BATCH // problem.scores.size, 1)
    for at in range(0, len(loads), together):
        masks, value = _climb(problem, loads[at : at + together], steps)
        if value > best_value:
            best, best_value = masks, value
    return best, best_value


def _climb(problem: Instance, loads: Floats, steps: int) -> tuple[Bools, float]:
    """Climb from a batch of load vectors at once."""
    # The empty masks are worth 0: nothing below that is taken.
    best, best_value = np.zeros(problem.scores.shape, dtype=np.bool_), 0.0
    reached = np.full(len(loads), -np.inf)
    for _ in range(steps):
        # Minorise: the penalty's slope at these loads. Maximise: everybody's best mask at scores less slopes.
        slopes = problem.consensus * (problem.clients - 2 * loads)
        masks = responses(problem, problem.scores[None] - slopes[:, None, :])
        found = values(problem, masks)
        top = int(np.argmax(found))
        if found[top] > best_value:
            best, best_value = masks[top], float(found[top])
        # A start that gains no more is at a fixed point and drops out.
        climbing = found > reached + 1e-12 * np.abs(found)
        if not climbing.any():
            break
        loads, reached = masks[climbing].sum(axis=1).astype(np.float64), found[climbing]
    return best, best_value


def starts(problem: Instance) -> Floats:
    """Return load vectors to climb from, ``[starts, layers]``: each client's own choice, the common one, and blends."""
    n = problem.clients
    own = responses(problem, problem.scores).sum(axis=0).astype(np.float64)
    total = problem.scores.sum(axis=0)
    rows = [own, np.full(problem.layers, n / 2)]
    shares = (0.0, 0.25, 0.5, 0.75, 1.0) if problem.scores.size <= BATCH else (0.5,)
    for share in shares:
        width = int(np.clip(np.round(np.quantile(problem.budgets, share)), 0, problem.layers))
        common = np.zeros(problem.layers)
        common[np.argsort(-total, kind="stable")[:width]] = n
        rows += [common, (own + common) / 2]
    # The layers most wanted, for all; and everybody's own loads, pushed away from n / 2.
    sharp = np.argsort(np.argsort(-own, kind="stable"), kind="stable")
    rows += [np.where(sharp < int(np.ceil(problem.budgets.mean())), float(n), 0.0), np.clip(2 * own - n / 2, 0, n)]
    return np.unique(np.array(rows), axis=0)


def polish(problem: Instance, masks: Bools, *, sweeps: int = 20) -> Bools:
    """Best responses, one client after another, until none gains; never lowers the objective."""
    masks = masks.copy()
    loads = masks.sum(axis=0).astype(np.float64)
    for _ in range(sweeps):
        moved = 0
        for client in _discontent(problem, masks, loads):
            # Others may have moved in this sweep: the worth is taken anew.
            others = loads - masks[client]
            worth = problem.scores[client] + problem.marginals(others)
            answer = _answer(problem, client, worth)
            if _gain(worth, answer, masks[client]) > 0:
                masks[client], loads, moved = answer, others + answer, moved + 1
        if moved == 0:
            break
    return masks


def _discontent(problem: Instance, masks: Bools, loads: Floats) -> list[int]:
    """Return the clients that could gain by changing alone."""
    worth = problem.scores + problem.marginals(loads - masks)
    answers = responses(problem, worth)
    gains = (worth * answers).sum(axis=1) - (worth * masks).sum(axis=1)
    # A gain within rounding is none: two clients could trade it for ever.
    scale = np.abs(worth * answers).sum(axis=1)
    return [int(i) for i in np.flatnonzero(gains > 1e-12 * scale)]


def _answer(problem: Instance, client: int, worth: Floats) -> Bools:
    return np.asarray(top_rows(worth[None], problem.budgets[client : client + 1])[0])


def _gain(worth: Floats, answer: Bools, mask: Bools) -> float:
    gain = float(worth[answer].sum() - worth[mask].sum())
    return gain if gain > 1e-12 * float(np.abs(worth[answer | mask]).sum()) else 0.0


def force(problem: Instance, masks: Bools, *, work: int = WORK) -> Bools:
    """Try each layer in or out for all clients, alone and in exchange, and climb again; return the best masks."""
    size = max(problem.scores.size, 1)
    value = problem.value(masks)
    for _ in range(10):
        trials = moves(problem.objective, masks, work // (4 * size), near=NEAR, turns=True)
        if not len(trials):
            break
        best = polish(problem, ascend(problem, trials)[0])
        work -= 4 * size * len(trials)
        if problem.value(best) <= value + 1e-12 * abs(value):
            break
        masks, value = best, problem.value(best)
    return masks


def moves(objective: Objective, masks: Bools, limit: int, *, near: int, turns: bool) -> Floats:
    """Return load vectors, ``[moves, layers]``: single layers first, then exchanges, most doubtful layers first.

    Args:
        objective: What masks are worth.
        masks: Where to begin.
        limit: Moves at most.
        near: Layers on either side that exchanges consider.
        turns: Whether adding and dropping a layer take turns; otherwise all that add one come first.
    """
    n, loads = len(masks), masks.sum(axis=0).astype(np.float64)
    # Doubtful: much wanted layers that some leave out, little wanted ones that some train.
    ranking = np.argsort(-objective.scores.sum(axis=0), kind="stable")
    into = [int(layer) for layer in ranking if loads[layer] < n]
    out = [int(layer) for layer in ranking[::-1] if loads[layer] > 0]
    # Sorted by place and side, adding and dropping take turns.
    alone = [(i, 0, add, -1) for i, add in enumerate(into)] + [(o, 1, -1, drop) for o, drop in enumerate(out)]
    depth = sorted((i + o, i, o) for i in range(min(len(into), near)) for o in range(min(len(out), near)))
    pairs = [(add, drop) for *_, add, drop in (sorted(alone) if turns else alone)]
    pairs += [(into[i], out[o]) for _, i, o in depth if into[i] != out[o]]
    found = np.repeat(loads[None], min(len(pairs), max(limit, 0)), axis=0)
    for move, (add, drop) in zip(found, pairs, strict=False):
        if add >= 0:
            move[add] = n
        if drop >= 0:
            move[drop] = 0
    return found
