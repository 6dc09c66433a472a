"""What a selector is: masks for all clients of a round at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem

SelectorState = Mapping[str, Any]
"""A selector's memory between rounds: JSON values only, so that a checkpoint can hold it."""


@runtime_checkable
class Selector(Protocol):
    """Decides which layers every client of a round trains, within each one's budget."""

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the memory of a run that has not begun."""
        ...

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the clients of the cohort whose scores this round's selection needs; often all or none.

        Where probes ride it is also asked in the round before, with the memory of then and the coming cohort.
        """
        ...

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return one affordable mask per client of the problem, and the memory for the next round."""
        ...
