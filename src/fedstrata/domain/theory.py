"""The error terms of the convergence bound, from three numbers per layer.

For clients i with data shares alpha_i, masks m and layer gradients g_il (Sun et al., arXiv 2408.15600, section 4; the
Cauchy-Schwarz form):

    E_t  = || sum_i alpha_i g_i  -  sum_{l selected} sum_i w_il g_il ||^2
    E_t1 = sum_{l nobody trained} G_l,            G_l = || g_l ||^2,   g_l = sum_i alpha_i g_il
    E_t2 = sum_{l selected} chi2_l * kappa_l^2,   chi2_l = 1 / A_l - 1,   kappa_l^2 = sum_i alpha_i || g_il - g_l ||^2

with A_l the data share of the clients that trained layer l and w_il = alpha_i m_il / A_l; always E_t <= E_t1 + E_t2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """What the clients' gradients of one layer have in common, and what not.

    Attributes:
        gradient_sq: G_l: squared norm of the mean over all clients, at their data shares.
        spread: kappa_l^2: mean squared distance of the clients' gradients from that mean.
        off: Squared distance of that mean from the mean over the clients that trained the layer, at their shares among
            themselves; G_l where nobody did.
    """

    gradient_sq: float
    spread: float
    off: float


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


def terms_of(moments: Sequence[LayerMoments], masses: Sequence[float]) -> ErrorTerms:
    """Return E_t, E_t1 and E_t2.

    Args:
        moments: One per layer.
        masses: A_l per layer, in [0, 1]; exactly 0 where nobody trained it.

    Example:
        >>> terms_of([LayerMoments(4.0, 1.0, 4.0), LayerMoments(9.0, 2.0, 0.5)], [0.0, 0.5])
        ErrorTerms(error=4.5, missing_layers=4.0, wrong_weights=2.0)
    """
    missing = sum(one.gradient_sq for one, mass in zip(moments, masses, strict=True) if mass == 0)
    wrong = sum((chi2(min(mass, 1.0)) or 0.0) * one.spread for one, mass in zip(moments, masses, strict=True))
    return ErrorTerms(float(sum(one.off for one in moments)), float(missing), float(wrong))
