"""Weights as Ray objects: one per block and version. Ray brings an object once to each node, where actors map it.

A block travels as the raw bytes of its tensors, one flat array each, which Ray keeps outside of its own framing and at
multiples of 64 bytes; so an actor computes with the node's shared memory itself, mapped for reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer
from fedstrata.domain.versions import Manifest
from fedstrata.engines.workers.arena import over
from fedstrata.engines.workers.layout import Layout, Place
from fedstrata.memory_alignment import aligned
from fedstrata.wire.digests import Digests, raw
from fedstrata.wire.messages import Weights

Bytes = NDArray[np.uint8]


class Published:
    """The server's side: the newest version of each block as an object of the cluster.

    Args:
        layout: The blocks, and the types of their tensors.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.bytes_put = 0
        """Bytes of weights that were ever handed to the cluster."""
        self._objects: dict[LayerName, tuple[str, Any]] = {}
        self._digests = Digests()
        self._blocks = {block.name: block for block in layout.blocks}

    def lacks(self, weights: Weights) -> tuple[Layer, ...]:
        """Nothing has to wait: a new version is another object, and those at work keep theirs."""
        return ()

    def publish(self, weights: Weights) -> None:
        """Nothing is done ahead of a request."""

    def manifest(self, weights: Weights) -> dict[LayerName, str]:
        """Return the content hash of each block.

        Raises:
            TrainingError: The weights are none of the layout's.
        """
        return {block.name: self.layout.digest(block, weights, self._digests) for block in self.layout.blocks}

    def objects(self, names: Iterable[LayerName], manifest: Manifest, weights: Weights) -> dict[str, Any]:
        """Return the objects of some blocks; a version that the cluster does not have is put there."""
        return {name: self._object(self._blocks[name], manifest[name], weights) for name in names}

    def _object(self, block: Layer, digest: str, weights: Weights) -> Any:  # noqa: ANN401  Ray's reference
        known = self._objects.get(block.name)
        if known is None or known[0] != digest:
            parts = [_flat(weights[name]) for name in block.tensor_names]
            known = self._objects[block.name] = digest, ray.put(parts)
            self.bytes_put += sum(part.nbytes for part in parts)
        return known[1]


class Held:
    """An actor's side: the tensors of the blocks that it was handed last.

    Args:
        layout: The blocks, and the types of their tensors.
        device: Where clients compute; on the CPU tensors lie in the node's shared memory.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self._layout, self._device = layout, device
        self._blocks = {block.name: block for block in layout.blocks}
        self._tensors: dict[TensorName, Tensor] = {}

    @property
    def weights(self) -> Weights:
        """The tensors of all blocks."""
        return dict(self._tensors)

    def take(self, objects: Mapping[str, Any]) -> None:
        """Take the new versions of some blocks, by name."""
        for name, parts in zip(objects, ray.get(list(objects.values())), strict=True):
            self._tensors |= self._tensors_of(self._blocks[LayerName(name)], parts)

    def _tensors_of(self, block: Layer, parts: Sequence[Bytes]) -> dict[TensorName, Tensor]:
        found = {}
        for spec, part in zip(block.tensors, parts, strict=True):
            place = Place(0, self._layout.places[spec.name].dtype)
            found[spec.name] = aligned(over(part.data, spec.shape, place)).to(self._device)
        return found


def _flat(tensor: Tensor) -> Bytes:
    """Return a tensor's bytes as a flat array, without a copy where it lies contiguous in memory."""
    return np.frombuffer(raw(tensor), dtype=np.uint8)
