"""The squared gradient norm: how fast the client's loss falls if this layer moves.

``s = || E_x g_x ||^2`` over the probed rows (the main paper's score). The norm of a mean over few rows is inflated by
sampling noise, ``E || g ||^2 = || true g ||^2 + tr(Cov) / n``; the unbiased form is the inner product of the mean
gradients of two disjoint halves. Sun, Xie, Ding, Li, Zhang, "Exploring Selective Layer Fine-Tuning in Federated
Learning", https://arxiv.org/abs/2408.15600.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.errors import SelectionError


@dataclass(frozen=True, slots=True)
class GradientNorm:
    """Squared norm of a layer's mean gradient.

    Attributes:
        unbiased: Use two half-batches, which removes the noise term; the score may then be negative.

    Example:
        >>> from fedstrata.domain.stats import TensorStats
        >>> GradientNorm()(LayerStats((TensorStats(2, 1.0, 9.0), TensorStats(1, 1.0, 16.0)), num_examples=8))
        25.0
    """

    unbiased: bool = False

    @property
    def needs(self) -> frozenset[Statistic]:
        """The half-batch products if unbiased, otherwise the plain norm."""
        return frozenset({Statistic.HALVES if self.unbiased else Statistic.NORM})

    def __call__(self, stats: LayerStats) -> float:
        """Return the score.

        Raises:
            SelectionError: The probe did not measure half-batches.
        """
        if not self.unbiased:
            return float(stats.grad_sq)
        total = 0.0
        for tensor in stats.tensors:
            if tensor.half_dot is None:
                raise SelectionError(
                    "score 'gradient-norm' with unbiased: true got no half-batch products;"
                    " probe with statistic 'halves'"
                )
            total += tensor.half_dot
        return total
