"""Count-sketches: a few numbers in place of a gradient, from which inner products can be estimated without bias.

Every coordinate j of a vector g has a bucket h(j) out of k and a sign s(j), both random, and the same for everyone::

    (S g)_b = sum over j with h(j) = b of s(j) g_j

S is linear, and over the draw of hash and signs E <S x, S y> = <x, y>, with variance
``(|x|^2 |y|^2 + <x, y>^2 - 2 sum_j x_j^2 y_j^2) / k``: the squared norm of a vector of many coordinates is off by
``sqrt(2 / k)`` of itself, 12.5 % for k = 128. Charikar, Chen, Farach-Colton, "Finding frequent items in data streams",
ICALP 2002; Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009,
https://arxiv.org/abs/0902.2206 (lemma 2).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer

from fedstrata.domain.ids import TensorName
from fedstrata.domain.seeds import words

SMALLEST, LARGEST = 16, 4096
"""Dimensions that a sketch may have; between them the powers of two."""
USUAL = 128
"""Dimension where nobody asks for another."""


def written(values: Sequence[float]) -> str:
    """Return float32 numbers as base64; those that float32 cannot hold are infinite.

    Example:
        >>> written([1.0, -2.5])
        'AACAPwAAIMA='
    """
    with np.errstate(over="ignore"):
        return b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def read(text: object) -> tuple[float, ...]:
    """Return the numbers that ``written`` wrote down.

    Raises:
        ValueError: The text is no such text, or another one of the same numbers.

    Example:
        >>> read("AACAPwAAIMA=")
        (1.0, -2.5)
    """
    data = b64decode(text, validate=True) if isinstance(text, str) else b"?"
    if len(data) % 4 or b64encode(data).decode() != text:
        raise ValueError("a text that should hold numbers does not")
    return tuple(np.frombuffer(data, dtype="<f4").tolist())


Sketch = Annotated[tuple[float, ...], BeforeValidator(read), PlainSerializer(written)]
"""Float32 numbers, written as base64: the one text that the same numbers have."""
NUMBER_BYTES = 6
"""Bytes of that text per number, rounded up: 16 / 3."""


@dataclass(frozen=True, slots=True)
class Hashing:
    """Which sketch: the same for all clients of a run, and in every round.

    Attributes:
        seed: Names hash and signs; non-negative, below 2^63.
        dimension: k, numbers per layer: a power of two from 16 to 4,096.
    """

    seed: int
    dimension: int = USUAL

    def __post_init__(self) -> None:
        """Refuse what is no sketch: the plan of a probe comes from another machine.

        Raises:
            ValueError: The seed or the dimension is none.
        """
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise ValueError(f"{str(self.seed)[:20]} is no seed of a sketch; it is a whole number from 0, below 2^63")
        if not valid_dimension(self.dimension):
            said = str(self.dimension)[:20]
            raise ValueError(f"a sketch of {said} numbers is none; it has a power of two from {SMALLEST} to {LARGEST}")


def valid_dimension(value: object) -> bool:
    """Return whether a sketch may have so many numbers.

    Example:
        >>> [valid_dimension(k) for k in (128, 100, 8, 8192, 128.0)]
        [True, False, False, False, False]
    """
    return type(value) is int and SMALLEST <= value <= LARGEST and value & (value - 1) == 0


def sketched(values: NDArray[np.floating], name: TensorName, hashing: Hashing) -> NDArray[np.float64]:
    """Return the sketch of one tensor, accumulated in float64; a layer's is the sum over its tensors.

    Args:
        values: Shape ``[elements]``.
        name: Name of the tensor: each has a hash of its own.
        hashing: Which sketch.

    Returns:
        Shape ``[dimension]``.

    Example:
        >>> s = sketched(np.array([3.0, -4.0]), TensorName("w"), Hashing(0, 16))
        >>> s.shape, sorted(float(v) for v in abs(s) if v)
        ((16,), [3.0, 4.0])
    """
    sums = np.bincount(_places(name, len(values), hashing), weights=values, minlength=2 * hashing.dimension)
    with np.errstate(invalid="ignore"):  # of a gradient that is not finite no sketch is
        return np.asarray(sums[0::2] - sums[1::2])


@lru_cache(maxsize=4096)
def _places(name: TensorName, elements: int, hashing: Hashing) -> NDArray[np.uint16]:
    """Return twice the bucket of each coordinate, plus one where its sign is minus.

    They are low bits of a counter-based generator's raw output, so that every machine and version draws the same.
    """
    draws = np.random.Philox(np.random.SeedSequence([hashing.seed, *words(name)])).random_raw(-(-elements // 4))
    bits = np.asarray(draws, dtype="<u8").view("<u2")[:elements] & np.uint16(2 * hashing.dimension - 1)
    return np.asarray(bits, dtype=np.uint16)
