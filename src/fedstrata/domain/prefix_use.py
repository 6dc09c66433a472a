"""How a client's visit came by the outputs of its frozen prefix, for the record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PrefixState(StrEnum):
    """Whether the frozen prefix's outputs were used again, and if not, why not."""

    OFF = "off"
    """Nobody asked for it."""
    CACHED = "cached"
    FEW_ROWS = "few-rows"
    """The visit uses fewer rows than the client has, so computing every row once would cost more than it saves."""
    NO_BLOCK = "no-block"
    """No whole block lies below the lowest trained layer."""
    DROPOUT = "dropout"
    """The prefix draws random numbers in training: dropout, or layers that are skipped at random."""
    AUGMENTED = "augmented"
    """The trainer changes the rows."""
    MODEL = "model"
    """The model's own code does not let its first blocks be left out."""


@dataclass(slots=True)
class PrefixUse:
    """Counters of one visit.

    Attributes:
        state: Whether the prefix was used again.
        read: Rows whose prefix outputs were at hand, counted each time that they were used.
        computed: Rows whose prefix outputs were computed for it.
        bytes: Bytes that all kept outputs took at its end.
    """

    state: PrefixState = PrefixState.OFF
    read: int = 0
    computed: int = 0
    bytes: int = 0
