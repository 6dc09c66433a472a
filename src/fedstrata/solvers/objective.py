"""The layer-selection problem P1: a validated instance, its penalty, and the value of masks.

With ``k_l`` the number of clients that train layer ``l`` and ``n`` clients, the problem is::

    maximise   sum_il m_il s_il - consensus * sum_l k_l (n - k_l) - diversity * sum_l k_l^2
    subject to sum_l costs_il m_il <= budget_i   for every client i,   m binary.

The consensus term is the one of Sun, Xie, Ding, Li, Zhang, "Exploring Selective Layer Fine-Tuning in Federated
Learning", https://arxiv.org/abs/2408.15600; the diversity term is the load variance of Saha et al., "F3OCUS",
https://arxiv.org/abs/2411.11912. They are the same statistic with opposite signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isinf, isnan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedstrata.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Objective:
    """What masks are worth, whatever they cost.

    Attributes:
        scores: Shape ``[clients, layers]``, float64, finite.
        consensus: Weight of ``sum_l k_l (n - k_l)``; may be ``inf``.
        diversity: Weight of ``sum_l k_l^2``.
    """

    scores: Floats
    consensus: float
    diversity: float

    def penalties(self) -> Floats:
        """Return the penalty of a layer by its load. Shape ``[clients + 1]``, index k = number of clients."""
        clients = len(self.scores)
        load = np.arange(clients + 1, dtype=np.float64)
        return self.consensus * load * (clients - load) + self.diversity * load * load

    def value(self, masks: Bools) -> float:
        """Return the objective of masks of shape ``[clients, layers]`` (consensus must be finite).

        Example:
            >>> Objective(np.array([[3.0, 1.0], [2.0, 2.0]]), 0.5, 0.0).value(np.array([[True, True], [True, False]]))
            5.5
        """
        return float(self.scores[masks].sum() - self.penalties()[masks.sum(axis=0)].sum())

    def marginals(self, loads: Floats) -> Floats:
        """Return the change of each layer's penalty-adjusted worth if one more client trains it.

        Args:
            loads: How many *other* clients train each layer; any shape.
        """
        # penalty(k) - penalty(k + 1), with k (n - k) and k^2 written out.
        others = len(self.scores) - 1
        return -self.consensus * (others - 2 * loads) - self.diversity * (2 * loads + 1)


@dataclass(frozen=True, slots=True)
class Instance:
    """One validated problem whose budgets are numbers of layers.

    Attributes:
        scores: Shape ``[clients, layers]``, float64, finite.
        budgets: Shape ``[clients]``, float64: whole numbers, at most the number of layers.
        consensus: Weight of ``sum_l k_l (n - k_l)``; may be ``inf``.
        diversity: Weight of ``sum_l k_l^2``.
    """

    scores: Floats
    budgets: Floats
    consensus: float
    diversity: float

    @property
    def clients(self) -> int:
        """Number of clients."""
        return int(self.scores.shape[0])

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.scores.shape[1])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Budgets as whole numbers. Shape ``[clients]``."""
        return self.budgets.astype(np.int64)

    @property
    def objective(self) -> Objective:
        """What masks are worth."""
        return Objective(self.scores, self.consensus, self.diversity)

    def penalties(self) -> Floats:
        """Return the penalty of a layer by its load. Shape ``[clients + 1]``, index k = number of clients."""
        return self.objective.penalties()

    def value(self, masks: Bools) -> float:
        """Return the objective of masks of shape ``[clients, layers]`` (consensus must be finite)."""
        return self.objective.value(masks)

    def marginals(self, loads: Floats) -> Floats:
        """Return the change of each layer's penalty-adjusted worth if one more client trains it (see ``Objective``)."""
        return self.objective.marginals(loads)


def objective(scores: ArrayLike, *, consensus: float = 0.0, diversity: float = 0.0) -> Objective:
    """Validate scores and weights.

    Raises:
        ConfigError: Scores or weights of the wrong shape, sign or size.
    """
    worth = _matrix(scores)
    _check_weights(worth, consensus, diversity)
    return Objective(worth, float(consensus), float(diversity))


def _matrix(scores: ArrayLike) -> Floats:
    worth = np.array(scores, dtype=np.float64)
    if worth.ndim == 1 and worth.size == 0:
        worth = worth.reshape(0, 0)
    if worth.ndim != 2:
        raise ConfigError(f"scores have shape {worth.shape}; pass one row per client, [clients, layers]")
    if not np.isfinite(worth).all():
        client, layer = np.argwhere(~np.isfinite(worth))[0]
        raise ConfigError(f"score of client {client}, layer {layer} is {worth[client, layer]}; it must be finite")
    return worth


def _check_weights(worth: Floats, consensus: float, diversity: float) -> None:
    for name, weight in (("consensus", consensus), ("diversity", diversity)):
        if isnan(weight) or weight < 0:
            raise ConfigError(f"{name} is {weight}; it must be 0 or more")
    if consensus > 0 and diversity > 0:
        raise ConfigError(
            "consensus and diversity are both above 0; they are one knob with two signs, so set one of them"
        )
    if isinf(diversity):
        raise ConfigError("diversity is inf; it must be finite")
    # n^2 a layer bounds every penalty, so no sum in the solvers is larger than this.
    size = float(worth.shape[0]) ** 2 * max(worth.shape[1], 1)
    with np.errstate(over="ignore"):
        largest = float(np.abs(worth).sum()) + size * (diversity + (0.0 if isinf(consensus) else consensus))
    if not isfinite(largest):
        raise ConfigError("scores or weights overflow when summed; divide all of them by a common factor")
