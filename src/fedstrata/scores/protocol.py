"""What a score is: a number per client and layer, from gradient statistics."""

from __future__ import annotations

from typing import Protocol

from fedstrata.domain.stats import LayerStats, Statistic


class Score(Protocol):
    """The worth of a layer to a client; larger is better."""

    @property
    def needs(self) -> frozenset[Statistic]:
        """The statistics that the probe has to measure for this score."""
        ...

    def __call__(self, stats: LayerStats) -> float:
        """Return a finite number; pure."""
        ...
