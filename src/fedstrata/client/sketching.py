"""Sketches of mean gradients, tensor by tensor as a probe sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedstrata.domain.count_sketch import Hashing, sketched
from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Layer


class Sketches:
    """Collects the sketches of one probe.

    Args:
        hashing: Which sketch; ``None`` takes none.
    """

    def __init__(self, hashing: Hashing | None) -> None:
        self._hashing = hashing
        self._found: dict[TensorName, NDArray[np.float64]] = {}

    def take(self, name: TensorName, total: Tensor, rows: int) -> None:
        """Keep the sketch of a tensor's mean gradient; on the CPU, where sums have the same bits every time.

        Args:
            name: The tensor.
            total: Sum of its gradients over the rows.
            rows: How many.
        """
        if self._hashing is not None:
            values = total.detach().flatten().float().cpu().numpy()
            self._found[name] = sketched(values, name, self._hashing) / rows

    def of(self, layer: Layer) -> tuple[float, ...] | None:
        """Return a layer's sketch, float32, or ``None`` if none is taken; tensors without a gradient add nothing."""
        if self._hashing is None:
            return None
        total = np.zeros(self._hashing.dimension)
        for spec in layer.tensors:
            total += self._found.get(spec.name, 0.0)
        with np.errstate(over="ignore"):
            return tuple(total.astype(np.float32).tolist())
