"""Every client for itself: its own best layers.

This is P1 without a penalty (consensus 0), except that layers are taken by rank whatever the sign of their score, as in
the main paper's score-based baselines: a whole budget is always spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import by_score, fill
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Independent:
    """Each client takes its layers by score from the largest down, passing over what its budget cannot pay."""

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the whole cohort."""
        return tuple(cohort)

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's mask.

        Raises:
            SelectionError: The problem has no scores.
        """
        scores = problem.required_scores("independent")
        masks = {
            client: fill(problem, client, by_score(row, problem.layers), skip=True)
            for client, row in zip(problem.clients, scores, strict=True)
        }
        return Selection(masks), state
