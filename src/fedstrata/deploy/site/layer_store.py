"""The blocks that a site holds: what a run's weights are made of, each held against its content hash.

A block comes from memory, from the message, from the base model or from the cache on disk, in this order. Nothing is
ever computed with a block whose hash is not the one that the server names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_blob
from torch import Tensor

from fedstrata.deploy.site.cache import LayerCache
from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.errors import ClientError
from fedstrata.memory_alignment import aligned
from fedstrata.wire.digests import digest_of, manifest_of
from fedstrata.wire.messages import Weights

_HASH = re.compile(r"[0-9a-f]{64}")


class LayerStore:
    """What a site holds of one model.

    The base model stays in memory, and shares it with the weights as long as they are the same.

    Args:
        layers: Its blocks.
        tensors: Its parameters as they were loaded, on the CPU.
        cache: Layers on disk.
        device: Where weights are wanted.
    """

    def __init__(
        self, layers: LayerMap, tensors: Mapping[TensorName, Tensor], cache: LayerCache, device: torch.device
    ) -> None:
        self._blocks = {block.name: block for block in (*layers.trainable, *layers.never)}
        self._needed = {block.name for block in layers.trainable}
        self._types = {name: tensor.dtype for name, tensor in tensors.items()}
        of_base = (*layers.layers, *layers.never)  # not ``always``: a head is the server's
        hashes = manifest_of(of_base, tensors)
        self._base = {hashes[b.name]: {name: tensors[name] for name in b.tensor_names} for b in of_base}
        self._selectable = frozenset(hashes[block.name] for block in layers.layers)
        self._memory: dict[str, Weights] = {}
        self._cache, self._device = cache, device

    def hashes(self) -> frozenset[str]:
        """Return the hashes of all layers that need not be sent: the base model's selectable ones, and the cache's."""
        return self._selectable | self._cache.hashes()

    def weights(
        self, manifest: Mapping[LayerName, str], sent: Mapping[str, bytes]
    ) -> tuple[Weights, tuple[LayerName, ...]]:
        """Return the weights of a manifest, and the blocks that are nowhere; what was sent is kept either way.

        Args:
            manifest: Content hash of every block that may be trained, and of others if the server likes.
            sent: Blob of each block that came with the message.

        Raises:
            ClientError: The manifest is not one of this model's.
        """
        self._check(manifest)
        found: dict[str, Weights] = {}
        for name, digest in manifest.items():
            tensors = self._find(self._blocks[name], digest, sent.get(name), manifest)
            if tensors is not None:
                found[digest] = tensors
        self._memory = found
        missing = tuple(name for name, digest in manifest.items() if digest not in found)
        return {name: tensor for block in found.values() for name, tensor in block.items()}, missing

    def _check(self, manifest: Mapping[LayerName, str]) -> None:
        lacks = sorted(self._needed - set(manifest))
        odd = sorted(set(manifest) - set(self._blocks))
        if lacks or odd:
            which = f"lacks {lacks[0][:100]}" if lacks else f"has {odd[0][:100]}, which the model here has not"
            raise ClientError(f"the run's model is another than the one here: its manifest {which}")
        if not all(isinstance(digest, str) and _HASH.fullmatch(digest) for digest in manifest.values()):
            raise ClientError("the run's manifest holds something that is no content hash")

    def _find(self, block: Layer, digest: str, blob: bytes | None, manifest: Mapping[LayerName, str]) -> Weights | None:
        if digest in self._memory:
            return self._memory[digest]
        found = None if blob is None else self._read(block, digest, blob)
        if found is not None and blob is not None:
            self._cache.put(digest, blob, frozenset(manifest.values()))
        if found is None:
            found = self._base.get(digest) or self._cached(block, digest)
        return None if found is None else {name: tensor.to(self._device) for name, tensor in found.items()}

    def _cached(self, block: Layer, digest: str) -> Weights | None:
        blob = self._cache.get(digest)
        found = None if blob is None else self._read(block, digest, blob)
        if blob is not None and found is None:
            self._cache.drop(digest)
        return found

    def _read(self, block: Layer, digest: str, blob: bytes) -> Weights | None:
        """Return the tensors in a blob if they are exactly the block that the hash names, aligned."""
        try:
            tensors = {TensorName(name): tensor for name, tensor in load_blob(blob).items()}
        except (SafetensorError, ValueError):
            return None
        shapes = {spec.name: (spec.shape, self._types[spec.name]) for spec in block.tensors}
        if {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} != shapes:
            return None
        return {n: aligned(t) for n, t in tensors.items()} if digest_of(block, tensors) == digest else None
