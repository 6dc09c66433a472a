"""What an aggregator is: new global weights from a stream of updates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from fedstrata.domain.layers import LayerMap
from fedstrata.wire.messages import Update, Weights


@dataclass(frozen=True, slots=True)
class AggregatorState:
    """An aggregator's memory between rounds, as tensors by name (empty for plain averaging)."""

    tensors: Weights = field(default_factory=dict)


class Aggregator(Protocol):
    """Folds updates into the global weights, layer by layer over those who trained it."""

    def init(self, weights: Weights, layers: LayerMap) -> AggregatorState:
        """Return the memory of a run that has not begun."""
        ...

    def apply(
        self, weights: Weights, updates: Iterable[Update], state: AggregatorState
    ) -> tuple[Weights, AggregatorState]:
        """Consume ``updates`` once, as they arrive; untrained tensors come back as the same object."""
        ...
