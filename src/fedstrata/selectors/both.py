"""Layers from both ends of the model, alternating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Both:
    """Alternating ends, first, last, second, last but one, ..., as far as each budget pays.

    One layer is the first; two are the first and the last; with an odd number the extra layer is nearest the input.
    """

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's mask, filled from both ends in turn."""
        return fill_all(problem, _alternate(candidates(problem.layers))), state


def _alternate(layers: Sequence[int]) -> list[int]:
    """Return first, last, second, last but one, ..."""
    half = (len(layers) + 1) // 2
    pairs = zip_longest(layers[:half], reversed(layers[half:]))
    return [layer for pair in pairs for layer in pair if layer is not None]
