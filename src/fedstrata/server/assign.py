"""Assignments: what the clients of a round are asked, and so what their answers have to be."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.runs.state import ServerState
from fedstrata.server.setting import Setting
from fedstrata.wire.assignment import Assignment, probe_of


def to_probe(clients: Sequence[ClientId], state: ServerState, setting: Setting) -> list[Assignment]:
    """Return a probe of every selectable layer for each client."""
    return [_probe(client, state, setting) for client in clients]


def _probe(client: ClientId, state: ServerState, setting: Setting) -> Assignment:
    return probe_of(client, state.round, state.origin, setting.probe_plan(), setting.layers)


def to_train(
    masks: Mapping[ClientId, Mask], state: ServerState, setting: Setting, carriers: Container[ClientId] = ()
) -> dict[ClientId, Assignment]:
    """Return the training of each client's mask, ascending by client.

    Args:
        masks: Layers to train.
        state: Where the run stands.
        setting: The run.
        carriers: Clients whose probe for the next round is piggybacked on their update.
    """
    origin = state.origin
    return {
        client: Assignment(
            client=client,
            round=state.round,
            phase="train",
            origin=origin,
            mask=masks[client],
            blocks=setting.layers.blocks(masks[client]),
            encoding=setting.train.encoding,
            num_examples=setting.profiles[client].num_examples,
            max_norm=setting.max_norm,
            piggybacked=_probe(client, state, setting) if client in carriers else None,
        )
        for client in sorted(masks)
    }


def to_evaluate(
    clients: Sequence[ClientId], state: ServerState, held_out: Mapping[ClientId, int | None]
) -> list[Assignment]:
    """Return the evaluation of the present weights for each client.

    Args:
        clients: Those that are asked.
        state: Where the run stands.
        held_out: Rows that each holds out, where that is known.
    """
    origin = state.origin
    return [Assignment(c, state.round, "evaluate", origin, num_examples=held_out.get(c)) for c in clients]
