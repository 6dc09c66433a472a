"""Assignments and answers of one tiny layer, for tests of replies and journal."""

from __future__ import annotations

from dataclasses import replace

import torch

from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, Role, TensorSpec
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Frame, Origin, Update
from fedstrata.wire.reply_frames import encode

LAYER = Layer(LayerName("h.0"), Role.LAYER, (TensorSpec(TensorName("h.0.w"), (2, 2)),))
ORIGIN = Origin("run", 0, "base")
ROWS = {"a": 1, "b": 2, "c": 3}


def training(client: str, *, round: int = 4, origin: Origin = ORIGIN, max_norm: float = 100.0) -> Assignment:
    """Return the training of the one layer."""
    return Assignment(
        client=ClientId(client),
        round=round,
        phase="train",
        origin=origin,
        mask=frozenset({0}),
        blocks=(LAYER,),
        num_examples=ROWS[client],
        max_norm=max_norm,
    )


def update(client: str, value: float = 1.0, *, round: int = 4, origin: Origin = ORIGIN) -> Update:
    """Return the right answer, every delta being ``value``."""
    return Update(
        client=ClientId(client),
        round=round,
        mask=frozenset({0}),
        deltas={TensorName("h.0.w"): torch.full((2, 2), value)},
        num_examples=ROWS[client],
        steps=1,
        loss_first=2.0,
        loss_mean=1.5,
        seconds=0.1,
        origin=origin,
    )


def frame(answer: Update, *, channel: str | None = None) -> Frame:
    """Return an answer as bytes in a client's channel, by default its own."""
    return Frame(ClientId(channel or answer.client), encode(answer, (LAYER,)))


def flipped(message: Frame, bit: int) -> Frame:
    """Return a frame with one bit flipped."""
    data = bytearray(message.data)
    data[bit // 8] ^= 1 << bit % 8
    return replace(message, data=bytes(data))
