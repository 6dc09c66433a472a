"""Seeded ways to damage a frame, blindly or with the checksum made right again so that deeper code is reached."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import inf, nan
from random import Random
from typing import Any

from frames import parts, sealed

NUMBERS = (0, 1, 2, 7, 127, 255, 256, 4096, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
"""Lengths at which programs tend to break."""
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63 - 1, 2**63, 10**40, -0.0, 0.5, 1e38, 1e308, 5e-324, float("nan"),
    float("inf"), float("-inf"), "", "a", "../x", "\0", "\ud800", "x" * 300, "train", "probe", "evaluate", "update",
    "LATE", "bf16", "int8", [], [[]], [0], [0, 2], {}, {"a": 1},
)  # fmt: skip


def flip(data: bytes, rng: Random) -> bytes:
    """Return the bytes with one to eight bits the other way round."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def insert(data: bytes, rng: Random) -> bytes:
    """Return the bytes with others somewhere between them."""
    at, more = rng.randint(0, len(data)), rng.randbytes(rng.choice((1, 1, 2, 4, 64)))
    return data[:at] + more + data[at:]


def delete(data: bytes, rng: Random) -> bytes:
    """Return the bytes without some in a row."""
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 1, 2, 4, 64, len(data))) :]


def repeat(data: bytes, rng: Random) -> bytes:
    """Return the bytes with a stretch of them copied over another."""
    size = rng.randint(1, max(len(data) // 4, 1))
    source, target = rng.randint(0, len(data)), rng.randint(0, len(data))
    return data[:target] + data[source : source + size] + data[target + size :]


def overwrite(data: bytes, rng: Random) -> bytes:
    """Return the bytes with a number at the edge of float32 over four of them, often in the last tensor."""
    found, number = bytearray(data), rng.choice((nan, inf, -inf, 1e38, -3e38, 2.0**-149, 1e7))
    if len(found) >= 4:
        last = len(found) // 4 - 1
        struct.pack_into("<f", found, 4 * rng.randint(max(last - 4, 0) if rng.random() < 0.5 else 0, last), number)
    return bytes(found)


def length(data: bytes, rng: Random) -> bytes:
    """Return a frame that claims other lengths, with the old checksum."""
    found, number = bytearray(data), rng.choice(NUMBERS)
    if rng.random() < 0.5:
        struct.pack_into("<I", found, 8, number % 2**32)
    else:
        struct.pack_into("<Q", found, 12, number)
    return bytes(found)


def splice(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Return the beginning of a frame with the end of another."""
    other = rng.choice(others)
    at = rng.randint(0, min(len(data), len(other)))
    return data[:at] + other[at if rng.random() < 0.5 else rng.randint(0, len(other)) :]


def blind(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Return a damaged frame."""
    ways: tuple[Callable[[bytes, Random], bytes], ...] = (flip, insert, delete, repeat, length)
    way = rng.randrange(6)
    return splice(data, rng, others) if way == 5 else ways[way](data, rng)


def resealed(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Return a frame with a damaged manifest or body whose lengths and checksum are right."""
    said, body = parts(data)
    way = rng.randrange(8)
    if way < 4:
        return sealed(edit_json(said, rng), body)
    if way == 4:
        return sealed(rng.choice((flip, insert, delete, repeat))(said, rng), body)
    if way == 5:
        return sealed(said, parts(rng.choice(others))[1])
    return sealed(said, rng.choice((flip, overwrite, overwrite, repeat, insert, delete))(body, rng))


def edit_json(said: bytes, rng: Random) -> bytes:
    """Return a manifest in which one value, however deep, is another, is gone, stands twice or lies deeper."""
    values = json.loads(said)
    inner = values
    while True:
        key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        if not (isinstance(inner[key], list) and inner[key] and rng.random() < 0.8):
            break
        inner = inner[key]
    match rng.randrange(5):
        case 0:
            del inner[key]
        case 1:
            inner[key] = [inner[key]]
        case 2:
            other = rng.choice(list(values))
            inner[key], values[other] = values[other], inner[key]
            return json.dumps(values, check_circular=False).encode() if inner is values else said
        case 3 if isinstance(inner, dict):
            return said[:-1] + f",{json.dumps(key)}:{json.dumps(rng.choice(JSON_VALUES))}}}".encode()
        case _:
            inner[key] = rng.choice(JSON_VALUES)
    return json.dumps(values).encode()


def mutate(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Return a frame damaged in one way, or in two, half of them with a checksum that is right."""
    found = resealed(data, rng, others) if rng.random() < 0.6 else blind(data, rng, others)
    return blind(found, rng, others) if rng.random() < 0.05 and len(found) >= 20 else found
