"""Linear probing: no client trains a layer, every client trains the ``always`` blocks (the head)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class HeadOnly:
    """Empty masks: only the ``always`` blocks move."""

    chooses: ClassVar = "none"

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return an empty mask for every client."""
        return Selection(dict.fromkeys(problem.clients, frozenset())), state
