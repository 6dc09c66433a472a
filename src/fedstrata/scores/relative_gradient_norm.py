"""The relative gradient norm: how large the gradient is for the size of the weights.

``s = || g_l || / || theta_l ||`` with both norms over the whole layer. Lee, Chen, Tajwar, Kumar, Yao, Liang, Finn,
"Surgical Fine-Tuning Improves Adaptation to Distribution Shifts", ICLR 2023, https://arxiv.org/abs/2210.11466.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from sys import float_info

from fedstrata.domain.stats import LayerStats, Statistic

LEAST_WEIGHT = 1e-12
"""Smallest root-mean-square weight that counts as it is; a layer of zeros is treated as if it had this one."""


@dataclass(frozen=True, slots=True)
class RelativeGradientNorm:
    """Norm of a layer's mean gradient over the norm of its weights.

    Where the weights are (nearly) zero, such as a fresh adapter's, their root mean square counts as 1e-12, so the score
    is finite: 0 without a gradient and very large with one.

    Example:
        >>> from fedstrata.domain.stats import TensorStats
        >>> RelativeGradientNorm()(LayerStats((TensorStats(2, 4.0, 9.0), TensorStats(1, 21.0, 16.0)), num_examples=8))
        1.0
    """

    @property
    def needs(self) -> frozenset[Statistic]:
        """The plain norm."""
        return frozenset({Statistic.NORM})

    def __call__(self, stats: LayerStats) -> float:
        """Return the score, at least 0."""
        least = LEAST_WEIGHT * sqrt(max(stats.elements, 1))
        return min(sqrt(stats.grad_sq) / max(sqrt(stats.weight_sq), least), float_info.max)
