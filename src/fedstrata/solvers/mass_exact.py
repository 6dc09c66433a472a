"""The bound's optimum by every combination of the clients' masks, where these are few."""

from __future__ import annotations

import numpy as np

from fedstrata.solvers.mass import MassProblem
from fedstrata.solvers.problem import Bools, Floats

MOST = 200_000
"""Combinations that are tried at most."""


def enumerated(problem: MassProblem) -> Bools | None:
    """Return the best masks, or ``None`` where combinations are too many; of equally good ones the first.

    Example:
        >>> from fedstrata.solvers.mass import mass_problem
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
    masses: Floats = np.zeros((1, layers))
    for client, own in enumerate(choices):
        masses = (masses[:, None] + problem.shares[client] * own[None]).reshape(-1, layers)
    at = np.unravel_index(int(problem.parts(masses).sum(axis=1).argmin()), [len(own) for own in choices])
    return np.array([own[int(index)] for own, index in zip(choices, at, strict=True)])
