"""The bound's optimum, proven: where clients are alike by their numbers per layer, where masks are few by trying them.

Clients are alike if their shares are equal, and their budgets too and count layers. Then F depends on the numbers k_l
of clients per layer alone, and any k_l <= n with ``sum_l k_l <= n R`` can be had: give each layer the next k_l clients,
in a circle (the case of equal rows in the theorem of Gale and Ryser). So what is left is a knapsack over layers, and a
dynamic programme over ``sum_l k_l`` is exact.
"""

from __future__ import annotations

import numpy as np

from fedstrata.solvers.mass_problem import MassProblem
from fedstrata.solvers.objective import Bools, Floats

WORK = 50_000_000
"""Entries ``layers * clients * places`` up to which the programme is run."""
MOST = 200_000
"""Combinations that are tried at most."""


def alike(problem: MassProblem) -> Bools | None:
    """Return the best masks, or ``None`` where clients are not alike or too many.

    Of masks that are as good those with the fewest trained layers are returned.

    Example:
        >>> from fedstrata.solvers.mass_problem import mass_problem
        >>> alike(mass_problem([1, 1], [4.0, 3.0], [9.0, 1.0], [1, 1])).astype(int).tolist()
        [[1, 0], [1, 0]]
    """
    n, layers = problem.shape
    counts = problem.counts
    if problem.priced is not None or not n or np.ptp(counts) > 0 or np.ptp(problem.shares) > 1e-12 / n:
        return None
    places = n * int(counts[0])
    if layers * n * places > WORK:
        return None
    loads = _loads(problem.parts(np.arange(n + 1)[:, None] / n), places)
    masks = np.zeros((n, layers), dtype=np.bool_)
    start = 0
    # In a circle no client gets a layer twice, and none more than R of them.
    for layer, load in enumerate(loads):
        masks[(start + np.arange(load)) % n, layer] = True
        start += load
    return masks


def _loads(parts: Floats, places: int) -> list[int]:
    """Return k_l that minimise ``sum_l parts[k_l, l]`` with ``sum_l k_l <= places``; ``parts``: ``[n + 1, layers]``."""
    n = len(parts) - 1
    best = np.zeros(places + 1)
    taken = []
    for layer in range(parts.shape[1]):
        # total[k, p]: least sum so far if this layer takes k of p places.
        total = np.full((n + 1, places + 1), np.inf)
        for load in range(min(n, places) + 1):
            total[load, load:] = parts[load, layer] + best[: places + 1 - load]
        taken.append(total.argmin(axis=0))
        best = total.min(axis=0)
    # What each layer took, read back from the last one.
    left, loads = places, []
    for choice in reversed(taken):
        loads.append(int(choice[left]))
        left -= loads[-1]
    return loads[::-1]


def enumerated(problem: MassProblem) -> Bools | None:
    """Return the best masks, or ``None`` where combinations are too many; of equally good ones the first.

    Example:
        >>> from fedstrata.solvers.mass_problem import mass_problem
        >>> enumerated(mass_problem([3, 1], [1.0, 0.2], [0.1, 0.1], [1, 1])).astype(int).tolist()
        [[1, 0], [1, 0]]
    """
    n, layers = problem.shape
    if n * layers > 60 or layers > 16:
        return None
    table = np.array([[(m >> layer) & 1 for layer in range(layers)] for m in range(1 << layers)], dtype=np.bool_)
    choices = [table[[problem.tariff.fits(mask, client) for mask in table]] for client in range(n)]
    if np.prod([float(len(own)) for own in choices]) > MOST:
        return None
    # Masses of every combination, one client after another.
    masses: Floats = np.zeros((1, layers))
    for client, own in enumerate(choices):
        masses = (masses[:, None] + problem.shares[client] * own[None]).reshape(-1, layers)
    at = np.unravel_index(int(problem.parts(masses).sum(axis=1).argmin()), [len(own) for own in choices])
    return np.array([own[int(index)] for own, index in zip(choices, at, strict=True)])
