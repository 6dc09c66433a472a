"""The signal-to-noise ratio of the gradient over rows: do the client's examples agree on where this layer should go?

``s = mean_j (E_x g_j)^2 / Var_x g_j`` over the layer's elements j, with mean and variance over *rows* x. Pure noise
already gives about ``1 / (n - 1)`` with n rows; the unbiased form subtracts it. After Lee et al., "Surgical Fine-Tuning
Improves Adaptation to Distribution Shifts", ICLR 2023, https://arxiv.org/abs/2210.11466, where the variance is over
output units for want of per-row gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info

from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.errors import SelectionError


@dataclass(frozen=True, slots=True)
class SignalToNoise:
    """Mean over a layer's elements of the squared mean gradient over its variance across rows.

    Attributes:
        unbiased: Subtract what pure noise would give, ``noise_sum / (n - 1)``; the score may then be negative. A single
            row says nothing about noise: the biased value is returned for it.

    Example:
        >>> from fedstrata.domain.stats import TensorStats
        >>> stats = LayerStats((TensorStats(4, 1.0, 1.0, snr_sum=6.0, noise_sum=4.0),), num_examples=5)
        >>> SignalToNoise()(stats), SignalToNoise(unbiased=True)(stats)
        (1.5, 1.25)
    """

    unbiased: bool = False

    @property
    def needs(self) -> frozenset[Statistic]:
        """Moments over single rows."""
        return frozenset({Statistic.SAMPLES})

    def __call__(self, stats: LayerStats) -> float:
        """Return the score.

        Raises:
            SelectionError: The probe did not measure single rows.
        """
        signal = noise = 0.0
        for tensor in stats.tensors:
            if tensor.snr_sum is None or tensor.noise_sum is None:
                raise SelectionError("score 'signal-to-noise' got no moments over rows; probe with statistic 'samples'")
            signal += tensor.snr_sum
            noise += tensor.noise_sum
        if self.unbiased and stats.num_examples > 1:
            signal -= noise / (stats.num_examples - 1)
        return max(min(signal / max(stats.elements, 1), float_info.max), -float_info.max)
