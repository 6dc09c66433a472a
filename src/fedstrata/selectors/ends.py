"""Selectors by a layer's place alone: the ends of the model, all of it, or none.

``head-only`` is linear probing: no client trains a layer, and every client trains the ``always`` blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill_all, same_mask
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


@dataclass(frozen=True, slots=True)
class Bottom:
    """As many layers from the input up as each budget pays for."""

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return no client: this selector needs no scores."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return each client's mask, filled from the first layer towards the output."""
        return fill_all(problem, candidates(problem.layers)), state


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


def _alternate(layers: Sequence[int]) -> list[int]:
    """Return first, last, second, last but one, ..."""
    half = (len(layers) + 1) // 2
    pairs = zip_longest(layers[:half], reversed(layers[half:]))
    return [layer for pair in pairs for layer in pair if layer is not None]
