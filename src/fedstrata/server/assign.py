"""Assignments: what the clients of a round are asked, and so what their answers have to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedstrata.domain.assignment import Assignment
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.server.method import Setting
from fedstrata.server.state import ServerState


def to_probe(clients: Sequence[ClientId], state: ServerState, setting: Setting) -> list[Assignment]:
    """Return a probe of every selectable layer for each client."""
    origin, blocks, asked = state.origin, setting.layers.layers, setting.method.score.needs
    return [Assignment(c, state.round, "probe", origin, blocks=blocks, statistics=asked) for c in clients]


def to_train(masks: Mapping[ClientId, Mask], state: ServerState, setting: Setting) -> dict[ClientId, Assignment]:
    """Return the training of each client's mask, ascending by client."""
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
            max_norm=setting.rules.max_norm,
        )
        for client in sorted(masks)
    }


def to_evaluate(clients: Sequence[ClientId], state: ServerState) -> list[Assignment]:
    """Return the evaluation of the present weights for each client."""
    origin = state.origin
    return [Assignment(c, state.round, "evaluate", origin) for c in clients]
