"""The weights in shared memory: one copy for all workers, of which only blocks that changed are written again.

Workers map it for reading. So a client that writes into the weights that it was given is stopped by the system, and the
server's weights cannot be spoilt.
"""

from __future__ import annotations

import mmap
import warnings
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer
from fedstrata.domain.versions import Manifest
from fedstrata.engines.workers.layout import Layout, Place
from fedstrata.engines.workers.shared import SharedFile, write_at
from fedstrata.wire.digests import Digests, raw
from fedstrata.wire.messages import Weights


class Arena:
    """The server's side: what lies in shared memory, by content hash.

    Args:
        layout: Where tensors lie.
        folder: Whose disk it lies on.
    """

    def __init__(self, layout: Layout, folder: Path) -> None:
        self.layout = layout
        self.bytes_copied = 0
        """Bytes of weights that were ever written."""
        self._file = SharedFile(folder, layout.bytes)
        self._holds: dict[LayerName, str] = {}
        self._digests = Digests()

    @property
    def descriptor(self) -> int:
        """The file's descriptor, for workers to inherit."""
        return self._file.descriptor

    @property
    def manifest(self) -> Manifest:
        """Content hash of each block that lies there."""
        return self._holds

    def lacks(self, weights: Weights) -> tuple[Layer, ...]:
        """Return the blocks whose content is another than what lies there."""
        return tuple(b for b in self.layout.blocks if self._digest(b, weights) != self._holds.get(b.name))

    def publish(self, weights: Weights) -> None:
        """Write the blocks that it lacks, while no worker reads."""
        for block in self.lacks(weights):
            for spec in block.tensors:
                data = raw(weights[spec.name])
                write_at(self.descriptor, data, self.layout.places[spec.name].offset)
                self.bytes_copied += len(data)
            self._holds[block.name] = self._digest(block, weights)

    def close(self) -> None:
        """Unmap the memory in this process."""
        self._file.close()

    def _digest(self, block: Layer, weights: Weights) -> str:
        return self.layout.digest(block, weights, self._digests)


class Mount:
    """A worker's side: tensors over the shared memory, and on another device than the CPU a copy of each.

    A block that was written anew is another tensor, so that whoever remembers what came of one tells by the object.

    Args:
        layout: Where tensors lie.
        descriptor: The inherited file.
        device: Where clients compute.
    """

    def __init__(self, layout: Layout, descriptor: int, device: torch.device) -> None:
        self._layout, self._device = layout, device
        memory = mmap.mmap(descriptor, layout.bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        specs = {spec.name: spec for block in layout.blocks for spec in block.tensors}
        self._shared = {n: over(memory, specs[n].shape, place) for n, place in layout.places.items()}
        self._present: dict[TensorName, Tensor] = {}
        self._holds: dict[LayerName, str] = {}

    def weights(self, manifest: Manifest) -> Weights:
        """Return the tensors that lie there, on the device.

        Args:
            manifest: Content hash of each block; a block with the hash of before has the same tensors.
        """
        for block in self._layout.blocks:
            if self._holds.get(block.name) != manifest[block.name]:
                self._present |= {n: self._seen(self._shared[n]) for n in block.tensor_names}
                self._holds[block.name] = manifest[block.name]
        return dict(self._present)

    def _seen(self, shared: Tensor) -> Tensor:
        return shared.detach() if self._device.type == "cpu" else shared.to(self._device)


def over(memory: mmap.mmap | memoryview, shape: tuple[int, ...], place: Place) -> Tensor:
    """Return the tensor that lies in some memory, which is not copied."""
    elements = prod(shape)
    if elements == 0:
        return torch.empty(shape, dtype=place.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # which is what is wanted
        flat = torch.frombuffer(memory, dtype=place.dtype, count=elements, offset=place.offset)
    return flat.view(shape)
