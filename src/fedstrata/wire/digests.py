"""Content hashes: of blocks of weights, and of what a reply says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from weakref import ref

import torch
from torch import Tensor

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layers import Layer
from fedstrata.wire.messages import Evaluated, Probed, Update, Weights


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
    """Return the content hash of what a reply contributes; times and memory, which it only reports, do not count."""
    if isinstance(reply, Update):
        said = [sorted(reply.mask), reply.num_examples, reply.steps, reply.loss_first, reply.loss_mean]
        said += [content_of(reply.piggybacked)] if reply.piggybacked else []
        return sha256((json.dumps(said) + hashed(sorted(reply.deltas.items()))).encode()).hexdigest()
    if isinstance(reply, Probed):
        stats = [
            [
                s.num_examples,
                [[t.elements, t.weight_sq, t.grad_sq, t.half_dot, t.snr_sum, t.noise_sum] for t in s.tensors],
                s.sketch,
            ]
            for s in reply.stats
        ]
        return sha256(json.dumps([stats, reply.loss]).encode()).hexdigest()
    return sha256(json.dumps([reply.loss_sum, reply.correct, reply.num_examples]).encode()).hexdigest()


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
