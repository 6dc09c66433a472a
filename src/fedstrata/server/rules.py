"""The rules of a round: quorums, deadlines, retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from fedstrata.wire.messages import PhaseName


@dataclass(frozen=True, slots=True)
class Rules:
    """When a round counts.

    Attributes:
        quorum: Clients whose updates must count: a number, or a share of the cohort as a fraction below 1 or 1.0.
        layer_quorum: Clients that must have trained a block for it to move; below that it keeps its bits.
        deadlines: Seconds that a phase may take; a phase that is not named waits.
        retries: How often an abandoned round is tried again.
        on_abandon: What follows then: ``stop`` ends the run with all saved, ``skip`` goes on with the next round.
        max_norm: Largest Euclidean norm of an update.
        keep_updates: Whether answers that count are kept on disk until they are in the older of two checkpoints, so
            that a round that was broken off asks nobody twice; ``None`` keeps them where they cannot be had again.
    """

    quorum: int | float = 1
    layer_quorum: int = 1
    deadlines: Mapping[PhaseName, float] = field(default_factory=dict)
    retries: int = 2
    on_abandon: Literal["stop", "skip"] = "stop"
    max_norm: float = 1e6
    keep_updates: bool | None = None

    def needed(self, cohort: int) -> int:
        """Return how many of a cohort have to answer; at least one.

        Example:
            >>> Rules(quorum=3).needed(10), Rules(quorum=0.5).needed(5), Rules(quorum=0.07).needed(100)
            (3, 3, 7)
        """
        if isinstance(self.quorum, int):
            return max(self.quorum, 1)
        return max(ceil(self.quorum * cohort - 1e-9), 1)  # 0.07 * 100 is a little more than 7
