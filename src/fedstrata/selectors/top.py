"""The layers nearest the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Top:
    """As many layers from the output down as each budget pays for."""

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's masks, filled from the last layer towards the input."""
        return fill_all(problem, reversed(candidates(problem.layers))), state
