"""One ranking for all clients: the layers of largest summed score.

For equal budgets this is P1's limit of infinite consensus. Layers are taken by rank whatever the sign of their score,
as in the main paper's score-based baselines: a whole budget is always spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import by_score, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Common:
    """All clients take layers in the order of the summed scores, passing over what their budget cannot pay."""

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
        total = problem.required_scores("common").sum(axis=0)
        return fill_all(problem, by_score(total, problem.layers), skip=True), state
