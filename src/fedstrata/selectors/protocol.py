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
class Sketching(Protocol):
    """A selector that reads sketches of the clients' gradients."""

    @property
    def sketch(self) -> int:
        """Numbers of each layer's sketch: a power of two from 16 to 4,096; 0 for none."""
        ...


def chooses(selector: object) -> str:
    """Return ``none`` or ``all`` of a selector that chooses no layer or always every one, and ``some`` of others.

    Example:
        >>> from fedstrata.selectors.ends import Full
        >>> from fedstrata.selectors.periodic import Periodic
        >>> from fedstrata.selectors.ends import Top
        >>> chooses(Top()), chooses(Full()), chooses(Periodic(every=2, inner=Full()))
        ('some', 'all', 'all')
    """
    inner = getattr(selector, "inner", None)
    return str(getattr(selector, "chooses", "some" if inner is None else chooses(inner)))


def sketch_of(selector: Selector) -> int:
    """Return how many numbers of each layer's gradient a selector asks for; 0 where it reads no sketches.

    Example:
        See ``tests/selectors/test_bound.py``.
    """
    return selector.sketch if isinstance(selector, Sketching) else 0


@runtime_checkable
class Selector(Protocol):
    """Decides which layers every client of a round trains, within each one's budget.

    A selector that chooses no layer, or always every one, says so by ``chooses = "none"`` or ``"all"`` in its class:
    a budget would be in its way, so that it has none unless the configuration names one.
    """

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the memory of a run that has not begun."""
        ...

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the clients of the cohort whose scores this round's selection needs; often all or none.

        With piggybacked probes it is also asked in the round before, with the memory of then and the coming cohort.
        """
        ...

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return one affordable mask per client of the problem, and the memory for the next round."""
        ...
