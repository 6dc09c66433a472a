"""Problems whose budgets are numbers of layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fedstrata.solvers.objective import Instance, objective


def instance(scores: ArrayLike, budgets: ArrayLike, *, consensus: float = 0.0, diversity: float = 0.0) -> Instance:
    """Return a validated problem; budgets are rounded down, and at most the number of layers."""
    worth = objective(scores, consensus=consensus, diversity=diversity)
    counts = np.floor(np.clip(np.asarray(budgets, dtype=np.float64), 0, worth.scores.shape[1]))
    return Instance(worth.scores, counts, worth.consensus, worth.diversity)
