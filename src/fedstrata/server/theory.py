"""The error terms of the convergence bound, computed exactly where gradients are at hand.

For clients i with data shares alpha_i, masks m and layer gradients g_il (Sun et al., arXiv 2408.15600, section 4; the
Cauchy-Schwarz form):

    E_t  = || sum_i alpha_i g_i  -  sum_{l selected} sum_i w_il g_il ||^2
    E_t1 = sum_{l nobody trained} || sum_i alpha_i g_il ||^2
    E_t2 = sum_{l selected} chi2_l * kappa_l^2,   chi2_l = 1 / A_l - 1,   kappa_l^2 = sum_i alpha_i || g_il - g_l ||^2

with A_l the data share of the clients that trained layer l; always E_t <= E_t1 + E_t2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ErrorTerms:
    """True error and the two terms of its bound."""

    error: float
    missing_layers: float
    wrong_weights: float

    @property
    def bound(self) -> float:
        """``E_t1 + E_t2``."""
        return self.missing_layers + self.wrong_weights


def chi2(data_mass: float) -> float | None:
    """Return ``1 / A - 1``: chi-square distance of a layer's weights from the data shares; ``None`` for A = 0.

    Example:
        >>> chi2(0.25), chi2(1.0), chi2(0.0)
        (3.0, 0.0, None)
    """
    return None if data_mass == 0 else 1.0 / data_mass - 1.0


def error_terms(
    gradients: Sequence[NDArray[np.float64]], shares: NDArray[np.float64], masks: NDArray[np.bool_]
) -> ErrorTerms:
    """Compute E_t, E_t1 and E_t2.

    Args:
        gradients: One array per layer, shape ``[clients, parameters of the layer]``.
        shares: alpha_i, shape ``[clients]``, summing to 1.
        masks: Shape ``[clients, layers]``.
    """
    error = missing = wrong = 0.0
    for layer, g in enumerate(gradients):
        mean = shares @ g
        mass = float(shares[masks[:, layer]].sum())
        if mass == 0:
            missing += float(mean @ mean)
            error += float(mean @ mean)
            continue
        weights = np.where(masks[:, layer], shares, 0.0) / mass
        off = mean - weights @ g
        error += float(off @ off)
        wrong += (1.0 / mass - 1.0) * float(shares @ np.square(g - mean).sum(axis=1))
    return ErrorTerms(error, missing, wrong)
