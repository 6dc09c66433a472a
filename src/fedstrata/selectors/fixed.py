"""The same hand-picked layers for every client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layer_language import LayerSpec, parse_layers
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import same_mask
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class FixedLayers:
    """Layers named by the user, for every client; the budget must pay for them.

    Attributes:
        layers: In the layer language, such as ``last:2`` or ``0, 3-5``.
    """

    layers: LayerSpec

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory, after making sure that the layers exist.

        Raises:
            LayerError: The specification matches nothing, or names a tied layer.
        """
        parse_layers(self.layers, layers)
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return the same mask for every client.

        Raises:
            BudgetError: A client's budget does not pay for it.
        """
        mask = parse_layers(self.layers, problem.layers)
        return same_mask(problem, mask, "fixed", "raise the budget, set budget: unlimited, or name fewer layers"), state
