"""Assignments: what the clients of a round are asked, and so what their answers have to be."""

from __future__ import annotations

from fedstrata.domain.assignment import Assignment
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.server.method import Setting
from fedstrata.server.state import ServerState


def to_probe(client: ClientId, state: ServerState, setting: Setting) -> Assignment:
    """Return a probe of every selectable layer."""
    return Assignment(client, state.round, "probe", state.origin, blocks=setting.layers.layers)


def to_train(client: ClientId, mask: Mask, state: ServerState, setting: Setting) -> Assignment:
    """Return the training of a mask."""
    return Assignment(
        client=client,
        round=state.round,
        phase="train",
        origin=state.origin,
        mask=mask,
        blocks=setting.layers.blocks(mask),
        encoding=setting.train.encoding,
        num_examples=setting.profiles[client].num_examples,
        max_norm=setting.rules.max_norm,
    )


def to_evaluate(client: ClientId, state: ServerState) -> Assignment:
    """Return the evaluation of the present weights."""
    return Assignment(client, state.round, "evaluate", state.origin)
