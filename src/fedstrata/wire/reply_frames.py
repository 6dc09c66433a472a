"""Frames: replies as bytes, and the one way back, which trusts nothing.

    offset  size  content
    0       4     magic ``FSTR``
    4       2     version, little-endian
    6       2     0
    8       4     bytes of the manifest
    12      8     bytes of the body
    20      32    sha256 of everything before and after it
    52      ...   manifest: strict JSON, what is said in numbers
    ...     ...   body: one safetensors blob per block, in the order of the assignment

The receiver knows what it asked for. So sizes are checked before what they measure is parsed, a blob has to begin with
exactly the header that such a blob has, and an update is decoded and validated whole before anyone sees it. Whatever
the bytes, ``decode`` returns a reply or a ``Reject``. Whether a frame belongs to the assignment is asked before whether
its body is of the right size: a sound answer to an earlier round is ``STALE``, not a damaged one to this round.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import NoReturn

import torch
from safetensors.torch import load as load_blob
from safetensors.torch import save as save_blob

from fedstrata.domain.count_sketch import NUMBER_BYTES
from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Layer, TensorSpec
from fedstrata.domain.reasons import Reason
from fedstrata.memory_alignment import aligned
from fedstrata.wire.admission import admit, belongs
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.encodings import decode_tensor, encode_block, encoded_specs
from fedstrata.wire.manifest import read_manifest, write_manifest
from fedstrata.wire.messages import Reject, Reply, Update
from fedstrata.wire.sizes import Encoding

MAGIC, VERSION = b"FSTR", 2
_HEAD = struct.Struct("<4sHHIQ")
_DIGEST = 32
PREFIX = _HEAD.size + _DIGEST
"""Bytes before the manifest."""
MANIFEST_BASE, MANIFEST_PER_TENSOR = 64 * 1024, 256
"""A manifest is no longer than this, so much per tensor asked for, and ``NUMBER_BYTES`` per number of a sketch."""


def encode(reply: Reply, blocks: tuple[Layer, ...] = (), encoding: Encoding = Encoding.FLOAT32) -> bytes:
    """Return a reply as a frame.

    Args:
        reply: An update's deltas are float32.
        blocks: The blocks that an update holds, in the order of its assignment.
        encoding: How an update's deltas are sent.
    """
    return b"".join(parts(reply, blocks, encoding))


def parts(reply: Reply, blocks: tuple[Layer, ...] = (), encoding: Encoding = Encoding.FLOAT32) -> tuple[bytes, ...]:
    """Return a reply as the parts of its frame: everything up to the manifest, then one blob per block of an update.

    Args:
        reply: An update's deltas are float32.
        blocks: The blocks that an update holds, in the order of its assignment.
        encoding: How an update's deltas are sent.
    """
    blobs: list[bytes] = []
    if isinstance(reply, Update):
        blobs = [save_blob(encode_block(block.tensors, reply.deltas, encoding)) for block in blocks]
    said = write_manifest(reply, encoding)
    head = _HEAD.pack(MAGIC, VERSION, 0, len(said), sum(map(len, blobs)))
    return head + _digest(head, said, *blobs) + said, *blobs


def decode_update(data: bytes, expected: Assignment) -> Update | Reject:
    """Return the update that a client was asked for, or why these bytes are not it.

    Args:
        data: Anything.
        expected: What the client was asked for; its phase is ``train``.
    """
    found = decode(data, expected)
    if isinstance(found, Update | Reject):
        return found
    return Reject(Reason.SCHEMA, f"asked for an update, got {type(found).__name__}")


def decode(data: bytes, expected: Assignment) -> Reply | Reject:
    """Return the answer to an assignment, which may be the client's ``Failure``, or why these bytes are none.

    Args:
        data: Anything.
        expected: What the client was asked for.
    """
    reply = unframe(data, expected)
    return reply if isinstance(reply, Reject) else admit(reply, expected) or reply


def unframe(data: bytes, expected: Assignment) -> Reply | Reject:
    """Return the reply in a frame, of the right names, shapes and types but with its values not looked at yet."""
    try:
        return _read(data, expected)
    except _RefusedError as refused:
        return refused.reject


class _RefusedError(Exception):
    def __init__(self, reason: Reason, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.reject = Reject(reason, message, damaged)


def _refuse(message: str, reason: Reason = Reason.SCHEMA) -> NoReturn:
    raise _RefusedError(reason, message)


def _damaged(message: str, reason: Reason = Reason.SCHEMA) -> NoReturn:
    raise _RefusedError(reason, message, damaged=True)


def _read(data: bytes, expected: Assignment) -> Reply:
    said, body = _opened(data, expected)
    try:
        reply, encoding = read_manifest(said)
    except ValueError as error:
        _refuse(f"the manifest is not one of ours: {error}")
    odd = belongs(reply, expected)
    if odd is not None:
        raise _RefusedError(odd.reason, odd.message)
    if not isinstance(reply, Update):
        return reply if not body else _refuse("the frame holds tensors and should hold none")
    if encoding != expected.encoding:
        _refuse(f"the update is sent as {str(encoding)[:20]}, asked for was {expected.encoding}")
    if reply.mask != expected.mask:
        _refuse(f"the update is of other layers ({sorted(reply.mask)[:8]}) than its mask {sorted(expected.mask)[:8]}")
    return replace(reply, deltas=_tensors(body, expected))


def _opened(data: bytes, expected: Assignment) -> tuple[bytes, memoryview]:
    """Return manifest and body of a frame that is whole: every size is checked before what it measures is looked at."""
    if len(data) < PREFIX:
        _damaged(f"{len(data)} bytes are no frame", Reason.SIZE)
    magic, version, zero, said_bytes, body_bytes = _HEAD.unpack_from(data)
    if magic != MAGIC or zero != 0:
        _damaged("the frame does not begin as ours do")
    if version != VERSION:
        _damaged(f"frame version {version} is not {VERSION}; update the older side")
    if said_bytes > _most_said(expected):
        _damaged(f"a manifest of {said_bytes} bytes is too long", Reason.SIZE)
    if len(data) != PREFIX + said_bytes + body_bytes:
        _damaged(f"{len(data)} bytes came of {PREFIX + said_bytes + body_bytes}", Reason.SIZE)
    view = memoryview(data)
    said, body = view[PREFIX : PREFIX + said_bytes], view[PREFIX + said_bytes :]
    if _digest(view[: _HEAD.size], said, body) != view[_HEAD.size : PREFIX]:
        _damaged("the frame is not as it was sent: its sha256 differs")
    return bytes(said), body


def _most_said(expected: Assignment) -> int:
    """Return the most bytes that the manifest of an answer can have."""
    return MANIFEST_BASE + MANIFEST_PER_TENSOR * expected.tensors + NUMBER_BYTES * expected.sketched


def _tensors(body: memoryview, expected: Assignment) -> dict[TensorName, torch.Tensor]:
    """Return the deltas, float32, each blob being exactly what a blob of its block is."""
    if len(body) != _body_bytes(expected):
        _refuse(f"a body of {len(body)} bytes, expected {_body_bytes(expected)}", Reason.SIZE)
    deltas: dict[TensorName, torch.Tensor] = {}
    start = 0
    for block in expected.blocks:
        header, size = _blob(block.tensors, expected.encoding)
        if body[start : start + len(header)] != header:
            _refuse(f"the blob of {block.name} does not hold exactly that block's tensors")
        sent = load_blob(bytes(body[start : start + size]))
        deltas |= {s.name: aligned(decode_tensor(s.name, sent, expected.encoding)) for s in block.tensors}
        start += size
    return deltas


def _body_bytes(expected: Assignment) -> int:
    if expected.phase != "train":
        return 0
    return sum(_blob(block.tensors, expected.encoding)[1] for block in expected.blocks)


@lru_cache(maxsize=4096)
def _blob(tensors: tuple[TensorSpec, ...], encoding: Encoding) -> tuple[bytes, int]:
    """Return the header that the blob of a block has, and the blob's whole size in bytes."""
    shapes = {n: s for spec in tensors for n, s in encoded_specs(spec, encoding).items()}
    blob = save_blob({name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()})
    header = 8 + int.from_bytes(blob[:8], "little")
    return blob[:header], len(blob)


def frame_limit(expected: Assignment) -> int:
    """Return the most bytes that the answer to an assignment can have.

    Example:
        >>> from fedstrata.domain.ids import ClientId
        >>> frame_limit(Assignment(ClientId("a"), 0, "evaluate"))
        65588
    """
    return PREFIX + _most_said(expected) + _body_bytes(expected)


def _digest(*parts: bytes | memoryview) -> bytes:
    total = sha256()
    for part in parts:
        total.update(part)
    return total.digest()
