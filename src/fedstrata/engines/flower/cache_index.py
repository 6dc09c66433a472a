"""The server's index of the sites' caches: a site is sent only the blocks whose content it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from safetensors.torch import save as save_blob

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.versions import Manifest
from fedstrata.wire.digests import Digests
from fedstrata.wire.messages import Weights

MOST_KNOWN = 4096
"""Contents that are remembered per client; more only costs a transfer."""


class CacheIndex:
    """What each client is known to hold, by content hash, and the blobs of what it lacks.

    Args:
        layers: All blocks.
        declared: What each client said that it holds when it joined.
    """

    def __init__(self, layers: LayerMap, declared: Mapping[ClientId, Iterable[str]]) -> None:
        self._blocks = {block.name: block for block in layers.trainable}
        self._held = {client: dict.fromkeys(hashes) for client, hashes in declared.items()}
        self._digests = Digests()
        self._blobs: dict[str, bytes] = {}

    def manifest(self, weights: Weights) -> dict[LayerName, str]:
        """Return the content hash of each block."""
        return {name: self._digests.of(block, weights) for name, block in self._blocks.items()}

    def lacked(self, client: ClientId, manifest: Manifest) -> tuple[LayerName, ...]:
        """Return the blocks that a client lacks."""
        held = self._held.get(client, {})
        return tuple(name for name, digest in manifest.items() if digest not in held)

    def blobs(self, names: Iterable[LayerName], manifest: Manifest, weights: Weights) -> dict[str, bytes]:
        """Return blocks as safetensors; those of the present weights are made once and shared by all clients."""
        present = set(manifest.values())
        self._blobs = {digest: blob for digest, blob in self._blobs.items() if digest in present}
        return {name: self._blob(name, manifest[name], weights) for name in names}

    def got(self, client: ClientId, manifest: Manifest) -> None:
        """Note that a client has worked with these blocks, and so holds them."""
        held = self._held.setdefault(client, {})
        for digest in manifest.values():
            held.pop(digest, None)  # to the end: the oldest are forgotten first
            held[digest] = None
        for digest in list(held)[:-MOST_KNOWN]:
            del held[digest]

    def lost(self, client: ClientId, names: Iterable[LayerName], manifest: Manifest) -> None:
        """Note that a client no longer holds some blocks: its cache was emptied."""
        for name in names:
            self._held.get(client, {}).pop(manifest[name], None)

    def _blob(self, name: LayerName, digest: str, weights: Weights) -> bytes:
        if digest not in self._blobs:
            tensors = {n: weights[n].detach().cpu().contiguous() for n in self._blocks[name].tensor_names}
            self._blobs[digest] = save_blob(dict(tensors))
        return self._blobs[digest]
