"""Many numbers as one text: base64 of float32, the one form that the same numbers have."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

import numpy as np

BYTES = 6
"""Bytes of text per number, rounded up: 16 / 3."""


def written(values: Sequence[float]) -> str:
    """Return float32 numbers as text; those that float32 cannot hold are infinite.

    Example:
        >>> written([1.0, -2.5])
        'AACAPwAAIMA='
    """
    with np.errstate(over="ignore"):
        return b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def read(text: str) -> tuple[float, ...]:
    """Return the numbers that ``written`` wrote down.

    Raises:
        ValueError: The text is no such text, or another one of the same numbers.

    Example:
        >>> read("AACAPwAAIMA=")
        (1.0, -2.5)
    """
    data = b64decode(text, validate=True)
    if len(data) % 4 or b64encode(data).decode() != text:
        raise ValueError("a text that should hold numbers does not")
    return tuple(np.frombuffer(data, dtype="<f4").tolist())
