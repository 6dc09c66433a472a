"""Content hashes: of blocks of weights, and of what a reply says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layers import Layer
from fedstrata.parsing.typed import plain
from fedstrata.wire.manifest import KINDS
from fedstrata.wire.measures import measure
from fedstrata.wire.messages import CLAIMS, Evaluated, Probed, Update, Weights


def digest_of(block: Layer, weights: Weights) -> str:
    """Return the content hash of a block: names, types, shapes and bits of its tensors, 64 hexadecimal digits."""
    return hashed((name, weights[name]) for name in block.tensor_names)


class Digests:
    """Content hashes of blocks, each computed once: tensors are never changed in place, so the same objects have it.

    Example:
        ``tests/wire/test_digests.py`` counts what is hashed.
    """

    def __init__(self) -> None:
        self._known: dict[LayerName, tuple[tuple[ref[Tensor], ...], str]] = {}

    def of(self, block: Layer, weights: Weights) -> str:
        """Return the content hash of a block.

        Raises:
            KeyError: The weights lack one of its tensors.
        """
        tensors = [weights[name] for name in block.tensor_names]
        known = self._known.get(block.name)
        if known and all(seen() is tensor for seen, tensor in zip(known[0], tensors, strict=True)):
            return known[1]
        digest = digest_of(block, weights)
        self._known[block.name] = (tuple(map(ref, tensors)), digest)
        return digest


def manifest_of(blocks: Iterable[Layer], weights: Weights) -> dict[LayerName, str]:
    """Return the content hash of each block."""
    return {block.name: digest_of(block, weights) for block in blocks}


def content_of(reply: Probed | Update | Evaluated) -> str:
    """Return the content hash of what a reply contributes; times and memory, which it only reports, do not count.

    It tells whether an answer is the one that came before, and guards nothing: who makes two answers of one hash has
    the first one counted, as with two of different hashes. So deltas are hashed by XXH3, in a twelfth of SHA-256's
    time. What a site relies on, the hashes of blocks and frames, is SHA-256.
    """
    said = json.dumps(_content(reply))
    if isinstance(reply, Update):
        said += "".join(
            f"\n{name} {delta.dtype} {tuple(delta.shape)} {measure(delta).xxh3}"
            for name, delta in sorted(reply.deltas.items())
        )
    return sha256(said.encode()).hexdigest()


def _content(reply: Probed | Update | Evaluated) -> dict[str, Any]:
    """Return what a reply says, without where it belongs and what its fields only report."""
    reported = {name for name, claim in CLAIMS[type(reply)].items() if not claim.counts}
    said = plain(KINDS[type(reply)], reply)
    if isinstance(reply, Update) and reply.piggybacked is not None:
        said["piggybacked"] = _content(reply.piggybacked)
    return {key: value for key, value in said.items() if key not in {"client", "round", "origin", *reported}}


def hashed(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the content hash of named tensors: names, types, shapes and bits, 64 hexadecimal digits."""
    total = sha256()
    for name, tensor in tensors:
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(raw(tensor))
    return total.hexdigest()


def raw(tensor: Tensor) -> memoryview:
    """Return a tensor's bytes, without a copy where it lies contiguous in memory."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return memoryview(flat.view(torch.uint8).numpy().data) if flat.numel() else memoryview(b"")
