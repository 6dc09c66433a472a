"""P16: what clients send (the whole table: ``test_table.py``)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Layer, LayerMap, Mask, Role
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Train, TrainPlan, Update
from fedstrata.wire.reply_frames import encode
from fedstrata.wire.sizes import Encoding, update_bytes
from frames import block, update
from toy_runs import toy_engine
from toys import toy_clients, toy_model

WIDTH = 192
"""Of a ViT-Ti: 445,000 parameters per block, 1.7 MB as float32."""


def transformer_block(name: str) -> Layer:
    d = WIDTH
    matrices: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "o"), (d, d))
    matrices |= {"up": (4 * d, d), "down": (d, 4 * d)}
    biases = {f"b.{n}": shape[:1] for n, shape in matrices.items()}
    return block(name, Role.LAYER, **matrices, **biases, **{"n1.w": (d,), "n1.b": (d,), "n2.w": (d,), "n2.b": (d,)})


LAYERS = LayerMap(
    tuple(transformer_block(f"vit.encoder.layer.{i}") for i in range(4)),
    (block("classifier", Role.ALWAYS, w=(100, WIDTH), b=(100,)),),
)
DELTAS = {s.name: torch.randn(s.shape) for s in LAYERS.tensors_of(LAYERS.everything)}


@pytest.mark.parametrize("encoding", Encoding)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(mask=st.frozensets(st.integers(0, 3), min_size=1))
def test_p16_the_wire_carries_the_selected_layers_and_at_most_one_percent_more(encoding: Encoding, mask: Mask) -> None:
    asked = Assignment(ClientId("a"), 5, "train", mask=mask, blocks=LAYERS.blocks(mask), encoding=encoding)
    deltas = {s.name: DELTAS[s.name] for s in LAYERS.tensors_of(mask)}
    data = encode(replace(update(), mask=mask, deltas=deltas), asked.blocks, encoding)
    selected = update_bytes(asked.blocks, encoding)
    assert 0 < len(data) - selected <= min(0.01 * selected, 64 * 1024)


@pytest.mark.parametrize("encoding", Encoding)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(mask=st.frozensets(st.integers(0, 2)))
def test_p16_clients_upload_exactly_what_they_were_assigned(encoding: Encoding, mask: Mask) -> None:
    model, clients = toy_model(), toy_clients({"a": 8, "b": 5})
    plan = TrainPlan(steps=1, epochs=None, batch_size=4, encoding=encoding)
    for client in clients:
        (reply,) = toy_engine(model, clients).send([Train(client, 0, model.weights(), mask, plan)])
        assert isinstance(reply, Update)
        assert set(reply.deltas) == {s.name for s in model.layers.tensors_of(mask)}
