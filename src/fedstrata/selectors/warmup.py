"""Warm-up: the first rounds train ``always`` alone, then another selector takes over.

A new head makes every body gradient meaningless, so scores are worth measuring only once it has been trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.protocol import Selector, SelectorState, sketch_of


@dataclass(frozen=True, slots=True)
class Warmup:
    """Train only ``always`` for some rounds, without probing.

    Attributes:
        rounds: How many.
        inner: The selector of all later rounds.
    """

    rounds: int
    inner: Selector

    def __post_init__(self) -> None:
        """Refuse a negative number of rounds."""
        if self.rounds < 0:
            raise ConfigError(f"warmup rounds must be 0 or more, got {self.rounds}")

    @property
    def sketch(self) -> int:
        """What the inner selector asks for."""
        return sketch_of(self.inner)

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the inner selector's memory."""
        return self.inner.init(layers)

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client during warm-up."""
        return () if round < self.rounds else self.inner.probes(round, cohort, state)

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return empty masks during warm-up, the inner selection afterwards."""
        if problem.round < self.rounds:
            return Selection(dict.fromkeys(problem.clients, frozenset())), state
        return self.inner.select(problem, state)
