"""The rules of a round: quorums, deadlines, retries."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal

from pydantic import Field

from fedstrata.parsing.section import Count, Positive, Whole
from fedstrata.wire.messages import PhaseName


@dataclass(frozen=True)
class Rules:
    """When a round counts, and what happens if it does not.

    Attributes:
        quorum: Clients whose updates must count: a number, or a share of the cohort such as 0.5 (1.0 is all of it).
        layer_quorum: Clients that must have trained a layer for it to move; below that it keeps its bits.
        deadline: Seconds that each phase may take, or by phase; a phase that is not named waits, as all do without.
        retries: How often an abandoned round is tried again.
        on_abandon: What follows then: ``stop`` ends the run with all saved, ``skip`` goes on with the next round.
        keep_updates: Whether answers that count are kept on disk until they are in the older of two checkpoints, so
            that a round that was broken off asks nobody twice; ``auto`` keeps them where they cannot be had again.
    """

    quorum: int | float = 1
    layer_quorum: Count = 1
    deadline: Positive | dict[PhaseName, Positive] | None = None
    retries: Annotated[Whole, Field(ge=0)] = 2
    on_abandon: Literal["stop", "skip"] = "stop"
    keep_updates: Literal["auto"] | bool = "auto"

    def needed(self, cohort: int) -> int:
        """Return how many of a cohort have to answer; at least one.

        Example:
            >>> Rules(quorum=3).needed(10), Rules(quorum=0.5).needed(5), Rules(quorum=0.07).needed(100)
            (3, 3, 7)
        """
        if isinstance(self.quorum, int):
            return max(self.quorum, 1)
        return max(ceil(self.quorum * cohort - 1e-9), 1)  # 0.07 * 100 is a little more than 7

    def seconds(self, phase: PhaseName) -> float | None:
        """Return the seconds that a phase may take; ``None`` waits.

        Example:
            >>> Rules(deadline={"train": 60.0}).seconds("train"), Rules(deadline=9.0).seconds("probe")
            (60.0, 9.0)
        """
        return self.deadline.get(phase) if isinstance(self.deadline, dict) else self.deadline
