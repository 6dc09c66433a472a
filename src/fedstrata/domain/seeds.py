"""Random streams: every draw comes from (run seed, round, phase, client), so order and engine do not matter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

import numpy as np


class Phase(IntEnum):
    """What a random stream is for; the numbers are part of a run's identity and never reused."""

    SAMPLE = 0
    PROBE = 1
    SELECT = 2
    TRAIN = 3
    EVALUATE = 4
    BUDGET = 5
    DATA = 6
    MODEL = 7
    SKETCH = 8


def words(text: str) -> tuple[int, ...]:
    """Return a text as four 32-bit numbers, for a seed sequence.

    Example:
        >>> len(words("client"))
        4
    """
    digest = sha256(text.encode()).digest()[:16]
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


@dataclass(frozen=True, slots=True)
class Seeds:
    """All random streams of one run.

    Attributes:
        run: The run's seed, a non-negative integer.

    Example:
        >>> a = Seeds(7).generator(Phase.TRAIN, round=1, client="c1").integers(100, size=3)
        >>> b = Seeds(7).generator(Phase.TRAIN, round=1, client="c1").integers(100, size=3)
        >>> bool((a == b).all())
        True
    """

    run: int

    def sequence(self, phase: Phase, *, round: int = 0, client: str = "") -> np.random.SeedSequence:
        """Return the seed sequence of one (phase, round, client)."""
        return np.random.SeedSequence([self.run, int(phase), round, *words(client)])

    def generator(self, phase: Phase, *, round: int = 0, client: str = "") -> np.random.Generator:
        """Return a fresh generator for one (phase, round, client)."""
        return np.random.default_rng(self.sequence(phase, round=round, client=client))

    def integer(self, phase: Phase, *, round: int = 0, client: str = "") -> int:
        """Return a 63-bit integer seed for libraries that take one (torch, partitioners)."""
        state = self.sequence(phase, round=round, client=client).generate_state(1, np.uint64)
        return int(state[0] >> np.uint64(1))
