"""Seeded ways to change a text of YAML or JSON: blindly, by lines, by words that readers trip over, and by value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBERS = (0, 1, -1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**101, 1e308, 5e-324, -0.0, 0.5)
"""Numbers at which programs tend to break."""
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, float("nan"), float("inf"), "", "a", "../x", "\0", "x" * 300, "-1", "=1+1", [], [[]],
    [0, 2], {}, {"a": 1}, "NaN", "1e999", "\ud800", "train", "finished", "LATE",
)  # fmt: skip
YAML_WORDS = (
    "&a ", "*a", "<<: *a", "<<: ", "!!bool ", "!!int ", "!!float ''", "!!timestamp x", "!!binary x", "!!set ", "!x ",
    "[", "]", "{", "}", "? ", ": ", "- ", "|\n", ">\n", "'", '"', '"\\ud800"', "#", "---\n", "...\n", "%YAML 1.1\n",
    "\t", "\0", "\r", "\ufeff", "\u2028", ".nan", ".inf", "1e999", "1:59:59", "0x1f", "0o7", "2024-13-45", "~", "null",
    "9" * 25, "9" * 150, "a: ", "kind: ", "yes", "=1", "\U0001f600", "- &a [*a]", "[*a, *a, *a, *a]",
)  # fmt: skip
JSON_WORDS = (
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"',
    "\\",
    "\\ud800",
    "NaN",
    "-Infinity",
    "1e999",
    "null",
    "9" * 25,
    "\n",
    "\0",
)
DEPTHS = (3, 49, 101, 3000)


def flip(data: bytes, rng: Random) -> bytes:
    """Return the bytes with some bits the other way round."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if found else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(data: bytes, rng: Random) -> bytes:
    """Return the bytes without some in a row, or without their end."""
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 2, 8, 64, len(data))) :]


def copy(data: bytes, rng: Random) -> bytes:
    """Return the bytes with a stretch of them once more somewhere else."""
    start, at = rng.randint(0, len(data)), rng.randint(0, len(data))
    return data[:at] + data[start : start + rng.choice((1, 4, 16, 64))] + data[at:]


def lines(data: bytes, rng: Random) -> bytes:
    """Return the bytes with a line doubled, moved, indented or gone."""
    found = data.split(b"\n")
    i, j = rng.randrange(len(found)), rng.randrange(len(found))
    match rng.randrange(4):
        case 0:
            found.insert(j, found[i])
        case 1:
            found[i], found[j] = found[j], found[i]
        case 2:
            found[i] = b" " * rng.choice((1, 2, 4)) + found[i]
        case _:
            del found[i]
    return b"\n".join(found)


def splice(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return the beginning of the bytes with the end of another input."""
    other = rng.choice(others)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def word(data: bytes, rng: Random, words: Sequence[str]) -> bytes:
    """Return the bytes with a word put in, before a word of theirs or in its place."""
    places = [m.span() for m in re.finditer(rb"[^\s:,\[\]{}]+", data)] or [(0, 0)]
    start, end = rng.choice(places)
    new = rng.choice(words) if rng.random() < 0.8 else str(rng.choice(NUMBERS))
    return data[:start] + new.encode() + data[rng.choice((start, end)) :]


def nest(data: bytes, rng: Random) -> bytes:
    """Return the bytes with many brackets somewhere."""
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice((b"[", b"{a: ", b'{"a":', b"- ")) * rng.choice(DEPTHS) + data[at:]


def value(text: bytes, rng: Random) -> bytes:
    """Return a JSON text in which one value is another, gone, or inside a list; what is no JSON stays."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    inner = found
    while isinstance(inner, dict | list) and inner:
        key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        deeper = inner[key]
        if isinstance(deeper, dict | list) and deeper and rng.random() < 0.8:
            inner = deeper
            continue
        match rng.randrange(6):
            case 0:
                del inner[key]
            case 1:
                inner[key] = [deeper]
            case _:
                inner[key] = rng.choice(VALUES)
        break
    return json.dumps(found).encode()


def blind(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return the bytes changed without knowing what they are."""
    ways: tuple[Callable[[bytes, Random], bytes], ...] = (flip, cut, copy, lines, lines)
    way = rng.randrange(len(ways) + 1)
    return ways[way](data, rng) if way < len(ways) else splice(data, rng, others)


def yaml_text(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return a text of YAML changed in one way."""
    way = rng.random()
    if way < 0.6:
        return word(data, rng, YAML_WORDS)
    return nest(data, rng) if way < 0.62 else blind(data, rng, others)


def json_lines(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return lines of JSON changed in one way, most often in one value of one line."""
    way = rng.random()
    if way < 0.65:
        found = data.split(b"\n")
        i = rng.randrange(len(found))
        found[i] = value(found[i], rng)
        return b"\n".join(found)
    if way < 0.8:
        return word(data, rng, JSON_WORDS)
    return nest(data, rng) if way < 0.82 else blind(data, rng, others)
