"""Gradient statistics per layer: what a client's probe sends, and what a score reads.

All values are reductions of per-row loss gradients at the round's weights, so they do not depend on how the rows
were split into mini-batches. Values of different tensors add up; a layer is the sum over its tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fedstrata.domain.count_sketch import Sketch
from fedstrata.parsing.typed import listed


class Statistic(StrEnum):
    """A group of statistics that a score may ask the probe for."""

    NORM = "norm"
    """``grad_sq``: squared norm of the mean gradient (one pass, nothing kept)."""
    HALVES = "halves"
    """``half_dot``: inner product of the mean gradients of two disjoint halves of the rows (one gradient kept)."""
    SAMPLES = "samples"
    """``snr_sum`` and ``noise_sum``: moments over single rows (one backward pass per row)."""


@dataclass(frozen=True, slots=True)
class TensorStats:
    """Gradient statistics of one parameter tensor.

    With g_x the gradient of row x's loss, E and Var its mean and (population) variance over the n probed rows,
    elementwise j:

    Attributes:
        elements: Number of elements.
        weight_sq: Squared Euclidean norm of the weights.
        grad_sq: ``|| E_x g_x ||^2``.
        half_dot: ``< mean g over half 1, mean g over half 2 >``, unbiased for the squared norm of the expected
            gradient; ``None`` if not asked for. May be negative.
        snr_sum: ``sum_j (E g_j)^2 / Var g_j``; ``None`` if not asked for.
        noise_sum: ``sum_j v_j / (v_j + floor)``, the share of ``snr_sum`` that pure noise would give times ``n - 1``;
            subtracting ``noise_sum / (n - 1)`` removes the bias of ``snr_sum``. ``None`` if not asked for.
    """

    elements: int
    weight_sq: float
    grad_sq: float
    half_dot: float | None = None
    snr_sum: float | None = None
    noise_sum: float | None = None


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Gradient statistics of one layer at one client.

    Attributes:
        tensors: One entry per parameter tensor; their order does not matter.
        num_examples: Number of rows probed.
        sketch: Sketch of the layer's mean gradient (``domain/count_sketch.py``), in float32; ``None`` if not asked for.

    Example:
        >>> LayerStats((TensorStats(2, 4.0, 9.0), TensorStats(1, 0.0, 16.0)), num_examples=8).grad_sq
        25.0
    """

    tensors: tuple[Annotated[TensorStats, listed(TensorStats)], ...]
    num_examples: int
    sketch: Sketch | None = None

    @property
    def grad_sq(self) -> float:
        """Squared norm of the layer's mean gradient."""
        return sum(t.grad_sq for t in self.tensors)

    @property
    def weight_sq(self) -> float:
        """Squared norm of the layer's weights."""
        return sum(t.weight_sq for t in self.tensors)

    @property
    def elements(self) -> int:
        """Number of parameters of the layer."""
        return sum(t.elements for t in self.tensors)
