"""JSON that may be anything: depth and numbers are bounded, and everything that is wrong is one kind of error."""

from __future__ import annotations

import json
import re
from math import isfinite
from pathlib import Path
from typing import Any

from fedstrata.parsing.bounded_files import MEBIBYTE, UnreadableError, is_text, read_text

MOST_BYTES = 64 * MEBIBYTE
"""Bytes of a file."""
MOST_DEPTH = 100
"""Lists and mappings inside each other."""
MOST_DIGITS = 100
"""Characters of a whole number: with more it fits no other kind of number, and to write it out takes long."""
MOST_INSIDE = 2_000_000
"""Lists and mappings of a file: one takes two characters there, and 60 bytes or more in memory."""


def json_value(text: str | bytes, *, once: bool = False, finite: bool = False) -> Any:  # noqa: ANN401  JSON values
    """Return the value of a JSON text.

    Args:
        text: Anything.
        once: Whether a key may stand only once in its mapping.
        finite: Whether a number has to be finite.

    Raises:
        UnreadableError: It is no JSON, too deep, or has a number that is too long or not finite, or a key twice.

    Example:
        >>> json_value('{"round": 1}')
        {'round': 1}
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        number, pairs = _finite if finite else float, _once if once else None
        value = json.loads(text, parse_int=_whole, parse_float=number, parse_constant=number, object_pairs_hook=pairs)
    except UnreadableError:
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise UnreadableError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise UnreadableError(_TOO_DEEP) from error
    if text.count("[") + text.count("{") > MOST_DEPTH and _deeper(value, MOST_DEPTH):
        raise UnreadableError(_TOO_DEEP)
    if _HALF.search(text) and not is_text(json.dumps(value, ensure_ascii=False)):
        raise UnreadableError("it holds half a surrogate pair")
    return value


def read_json(path: Path, *, most: int = MOST_BYTES) -> Any:  # noqa: ANN401  JSON values
    """Return the value of a JSON file.

    Raises:
        OSError: It cannot be opened or read.
        UnreadableError: It is too large, no plain file, no JSON, too deep, holds too much, or has a number that is too
            long.
    """
    text = read_text(path, most=most)
    if text.count("[") + text.count("{") > MOST_INSIDE:
        raise UnreadableError(f"it holds more than {MOST_INSIDE:,} lists or mappings")
    return json_value(text)


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may be half of a character; two of them make a whole one."""
_TOO_DEEP = f"it holds more than {MOST_DEPTH} lists or mappings inside each other"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableError("a key stands twice")
    return found


def _finite(text: str) -> float:
    if not isfinite(value := float(text)):
        raise UnreadableError("a number in it is not finite")
    return value


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise UnreadableError(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _deeper(value: object, depth: int) -> bool:
    """Return whether lists and mappings lie deeper inside each other than that; breadth first, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    while depth > 0 and level:
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        depth -= 1
    return bool(level)
