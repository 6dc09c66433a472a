"""Whether weights are the very tensors that something was computed with."""

from __future__ import annotations

from weakref import ref

from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.wire.messages import Weights


class Seen:
    """Tells whether weights are the very tensors that were seen before, without keeping them alive.

    Tensors of weights are never changed in place (``wire/messages.py``), so the same objects have the same content.

    Args:
        weights: What is seen.

    Example:
        >>> import torch
        >>> weights = {"w": torch.ones(2)}
        >>> seen = Seen(weights)
        >>> seen.again(dict(weights)), seen.again({"w": torch.ones(2)})
        (True, False)
    """

    def __init__(self, weights: Weights) -> None:
        self._tensors: dict[TensorName, ref[Tensor]] = {name: ref(tensor) for name, tensor in weights.items()}

    def again(self, weights: Weights) -> bool:
        """Return whether these are the same tensors under the same names."""
        return self._tensors.keys() == weights.keys() and not self.changed(weights)

    def changed(self, weights: Weights) -> frozenset[TensorName]:
        """Return the names under which there was another tensor, or none."""
        known = self._tensors
        return frozenset(n for n, tensor in weights.items() if n not in known or known[n]() is not tensor)
