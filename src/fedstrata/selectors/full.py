"""Full fine-tuning: every client trains every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, same_mask
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Full:
    """All layers that may be selected, for every client; the budget must pay for them."""

    chooses: ClassVar = "all"

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return the same full mask for every client.

        Raises:
            BudgetError: A client's budget does not pay for it.
        """
        mask = frozenset(candidates(problem.layers))
        return same_mask(problem, mask, "full", "set budget: unlimited, or choose another selector"), state
