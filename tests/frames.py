"""Assignments, their answers and frames, small enough to mutate in every place: for tests of the wire."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import torch

from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Evaluated, Failure, Origin, Probed, Reply, Update
from fedstrata.wire.reply_frames import PREFIX, VERSION, encode
from fedstrata.wire.sizes import Encoding

A = ClientId("a")
ORIGIN = Origin("run-1", 2, "b" * 64)
MASK = frozenset({0, 2})
KINDS = ("update", "probed", "evaluated", "failure", "piggybacked")
CASES = [
    *(("update", encoding) for encoding in Encoding),
    *((kind, Encoding.FLOAT32) for kind in KINDS if kind != "update"),
]
"""Every kind of reply, an update in every encoding; ``piggybacked`` is one that statistics are piggybacked on."""


def block(name: str, role: Role = Role.LAYER, **shapes: tuple[int, ...]) -> Layer:
    specs = tuple(TensorSpec(TensorName(f"{name}.{n}"), shape) for n, shape in shapes.items())
    return Layer(LayerName(name), role, specs)


LAYERS = LayerMap(
    (block("h.0", w=(2, 3), b=(2,)), block("h.1", w=(3, 2)), block("h.2", k=(2, 1, 3), s=(), e=(0, 3))),
    (block("head", Role.ALWAYS, w=(2, 2)),),
)
"""A matrix, vectors, a scalar, three dimensions and an empty tensor."""


def asked(kind: str = "update", encoding: Encoding = Encoding.FLOAT32) -> Assignment:
    """Return the assignment that a reply of this kind answers; a failure answers training."""
    if kind == "evaluated":
        return Assignment(A, 5, "evaluate", ORIGIN)
    if kind == "probed":
        return Assignment(A, 5, "probe", ORIGIN, blocks=LAYERS.layers, statistics=frozenset(Statistic), sketch=16)
    train = Assignment(A, 5, "train", ORIGIN, MASK, LAYERS.blocks(MASK), encoding, num_examples=7, max_norm=1e6)
    return replace(train, piggybacked=asked("probed")) if kind == "piggybacked" else train


def deltas(assignment: Assignment | None = None, *, seed: int = 0) -> dict[TensorName, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    blocks = (assignment or asked()).blocks
    return {s.name: torch.randn(s.shape, generator=rng) for b in blocks for s in b.tensors}


def update() -> Update:
    return Update(A, 5, MASK, deltas(), 7, 3, 1.5, 1.25, 0.5, peak_bytes=4096, origin=ORIGIN)


def probed() -> Probed:
    def stats(layer: Layer) -> LayerStats:
        sizes = [spec.elements for spec in layer.tensors]
        tensors = tuple(TensorStats(n, 4.0 * n, n / 2, -0.5 * n, 2.0, 1.0) for n in sizes)
        return LayerStats(tensors, 8, sketch=(0.5, -0.25, *(0.0,) * 14))

    return Probed(A, 5, tuple(map(stats, LAYERS)), 1.5, 0.25, peak_bytes=None, origin=ORIGIN)


def reply(kind: str) -> Reply:
    """Return a sound reply of a kind."""
    match kind:
        case "update":
            return update()
        case "piggybacked":
            return replace(update(), piggybacked=probed())
        case "probed":
            return probed()
        case "evaluated":
            return Evaluated(A, 5, 12.5, 3, 8, ORIGIN)
        case _:
            return Failure(A, 5, "train", Reason.CLIENT_ERROR, "no memory: 8 of 4 GB", ORIGIN)


def frame(kind: str = "update", encoding: Encoding = Encoding.FLOAT32) -> bytes:
    return encode(reply(kind), asked(kind).blocks, encoding)


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Return manifest and body of a sound frame."""
    said, _ = struct.unpack_from("<IQ", data, 8)
    return data[PREFIX : PREFIX + said], data[PREFIX + said :]


def sealed(said: bytes, body: bytes = b"") -> bytes:
    """Return a frame of any manifest and body with the lengths and the checksum that they have."""
    head = struct.pack("<4sHHIQ", b"FSTR", VERSION, 0, len(said), len(body))
    return head + sha256(head + said + body).digest() + said + body


def edited(data: bytes, edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> bytes:
    """Return a frame whose manifest was edited and whose checksum is right again."""
    said, body = parts(data)
    return sealed(json.dumps(edit(json.loads(said))).encode(), body)


def saying(data: bytes, **values: object) -> bytes:
    """Return a frame that says something else in some keys."""
    return edited(data, lambda said: said | values)
