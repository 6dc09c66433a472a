"""Quorums: a round that too few clients answered did not happen, and a layer that too few trained keeps its bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.errors import AbandonedError, StorageError
from fedstrata.runs.journal import Journal
from fedstrata.server.recorder import Recorder
from fedstrata.server.rules import Rules
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import PhaseName, Update


def require(answered: int, phase: PhaseName, recorder: Recorder, rules: Rules) -> None:
    """Abandon the round if too few clients are left.

    Raises:
        AbandonedError: The quorum is not reached.
    """
    needed = rules.needed(len(recorder.cohort))
    if answered >= needed:
        return
    facts = recorder.abandoned(phase, answered=answered, needed=needed)
    raise AbandonedError(facts.message, facts)


def with_quorum(
    updates: Iterator[Update],
    assigned: Mapping[ClientId, Assignment],
    *,
    journal: Journal,
    recorder: Recorder,
    rules: Rules,
) -> Iterator[Update]:
    """Yield the updates with the blocks that enough clients trained.

    Without a layer's quorum they stream through. With one, who trained what is known only at the end, so all updates
    are taken first and read back from the journal, one at a time.
    """
    if rules.layer_quorum <= 1:
        yield from updates
        return
    clients = [update.client for update in updates]
    counts = Counter(block.name for c in clients for block in assigned[c].blocks)
    few = {name: count for name, count in counts.items() if count < rules.layer_quorum}
    recorder.note_below_quorum(few)
    for client in clients:
        update = journal.recall(assigned[client])
        if not isinstance(update, Update):
            raise StorageError(f"the update of {client} was kept for the layer quorum and cannot be read again")
        yield _without(update, assigned[client], few)


def _without(update: Update, assignment: Assignment, few: Mapping[LayerName, int]) -> Update:
    """Return an update without some blocks."""
    layers = [block for block in assignment.blocks if block.name not in few]
    names = {name for block in layers for name in block.tensor_names}
    chosen = assignment.blocks[: len(assignment.mask)]
    mask = frozenset(i for i, block in zip(sorted(assignment.mask), chosen, strict=True) if block.name not in few)
    return replace(update, mask=mask, deltas={n: d for n, d in update.deltas.items() if n in names})
