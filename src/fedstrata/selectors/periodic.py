"""Select every few rounds only: a client keeps its mask in between, and is not probed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.protocol import Selector, SelectorState, sketch_of


@dataclass(frozen=True, slots=True)
class Periodic:
    """Wraps a selector so that a client's mask holds for ``every`` rounds from the round that chose it.

    Rounds count whether or not the client takes part. Clients whose mask has run out, that were never seen, or that can
    no longer pay for their mask, are selected by the inner selector as a problem of their own (its ``n`` counts only
    them). The inner selector's certificate is passed on only in a round in which everybody was selected.

    Attributes:
        every: Rounds a mask holds, at least 1; 1 selects in every round.
        inner: The selector that chooses masks.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}

    every: int
    inner: Selector

    def __post_init__(self) -> None:
        """Refuse a period below one round."""
        if self.every < 1:
            raise ConfigError(f"selector 'periodic' has every: {self.every}; it must be 1 or more")

    @property
    def sketch(self) -> int:
        """What the inner selector asks for."""
        return sketch_of(self.inner)

    def init(self, layers: LayerMap) -> SelectorState:
        """Return the inner selector's memory, and no masks."""
        return {"inner": dict(self.inner.init(layers)), "masks": {}}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return those that the inner selector wants probed, among the clients without a valid mask."""
        due = [client for client in cohort if not self._holds(round, client, state)]
        return self.inner.probes(round, due, state["inner"]) if due else ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return remembered masks, and new ones from the inner selector for the others."""
        kept = {client: mask for client in problem.clients if (mask := self._kept(problem, client, state)) is not None}
        due = [client for client in problem.clients if client not in kept]
        inner_state = state["inner"]
        chosen = Selection({})
        if due:
            chosen, inner_state = self.inner.select(_part(problem, due), inner_state)
        masks = {client: kept[client] if client in kept else chosen.masks[client] for client in problem.clients}
        memory = {c: entry for c, entry in state["masks"].items() if self._holds(problem.round + 1, c, state)}
        memory.update({c: {"round": problem.round, "mask": sorted(chosen.masks[c])} for c in due})
        selection = Selection(masks, None if kept else chosen.certificate)
        return selection, {"inner": dict(inner_state), "masks": memory}

    def _holds(self, round: int, client: ClientId, state: SelectorState) -> bool:
        entry = state["masks"].get(client)
        return entry is not None and round < entry["round"] + self.every

    def _kept(self, problem: SelectionProblem, client: ClientId, state: SelectorState) -> Mask | None:
        """Return the client's mask if it is valid in this round and affordable."""
        if not self._holds(problem.round, client, state):
            return None
        mask = frozenset(int(layer) for layer in state["masks"][client]["mask"])
        return mask if problem.affordable(client, mask) else None


def _part(problem: SelectionProblem, clients: Sequence[ClientId]) -> SelectionProblem:
    """Return the problem of some of the clients."""
    rows = [problem.clients.index(client) for client in clients]
    return replace(
        problem,
        profiles={client: problem.profiles[client] for client in clients},
        scores=None if problem.scores is None else problem.scores[rows],
        sketches=None if problem.sketches is None else problem.sketches[rows],
    )
