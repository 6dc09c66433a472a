from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import train
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import LayerError
from fedstrata.models.dividing import keep_frozen
from fedstrata.models.form import Lora
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from fedstrata.wire.messages import TrainPlan


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    return nn.Sequential(OrderedDict(body=body, norm=nn.LayerNorm(4), head=nn.Linear(4, 2)))


def _kept(net: nn.Module, *, whole: bool = False) -> LayerMap:
    return keep_frozen(net, partition(net), candidates="all", always=(), whole=whole)


def test_a_network_that_trains_everything_is_left_as_it_is() -> None:
    net = _net()
    found = partition(net)
    assert keep_frozen(net, found, candidates="all", always=()) is found


def test_what_its_owner_froze_does_not_move() -> None:
    net = _net()
    for name in ("body.0", "norm"):
        net.get_submodule(name).requires_grad_(False)
    net.get_parameter("body.1.bias").requires_grad_(False)
    held = {n: p.detach().clone() for n, p in net.named_parameters() if not p.requires_grad}
    layers = _kept(net)
    assert (layers.names, [b.name for b in layers.always]) == (("body.1", "body.2"), ["head"])
    assert [b.name for b in layers.never] == ["body.0", "norm", "body.1.frozen"]
    model = ResidentModel(net, layers)
    rows = TensorRows({"x": torch.rand(8, 4)}, torch.arange(8) % 2)
    weights = model.weights()
    result = train(
        model,
        weights,
        mask=layers.everything,
        rows=rows,
        indices=torch.arange(8),
        plan=TrainPlan(steps=2, epochs=None, batch_size=4),
        rng=np.random.default_rng(0),
    )
    assert set(result.deltas) == {"body.1.weight", "body.2.weight", "body.2.bias", "head.weight", "head.bias"}
    assert set(model.frozen_drift().values()) == {0.0}
    assert all(torch.equal(net.get_parameter(name), value) for name, value in held.items())


def test_a_partly_frozen_network_can_be_measured() -> None:
    net = _net()
    net.get_parameter("body.1.bias").requires_grad_(False)
    profile = measure_step(net, _kept(net), {"x": torch.empty(2, 4)})
    assert profile.layers == 3


@pytest.mark.parametrize(
    ("candidates", "always", "named"),
    [("last:2", (), "body.1"), ("all", ("norm",), "norm"), (["body.0", "body.1"], (), "body.1")],
)
def test_a_pattern_that_asks_for_what_is_frozen_is_an_error(
    candidates: str | list[str], always: tuple[str, ...], named: str
) -> None:
    net = _net()
    net.get_submodule(named).requires_grad_(False)
    found = partition(net, candidates=candidates, always=always)
    with pytest.raises(LayerError, match=rf"'{named}' is frozen by the model itself \(requires_grad is off\)"):
        keep_frozen(net, found, candidates=candidates, always=always)


def test_a_pattern_that_leaves_it_out_is_none() -> None:
    net = _net()
    net.get_submodule("body.0").requires_grad_(False)
    layers = keep_frozen(net, partition(net, candidates="last:2"), candidates="last:2", always=())
    assert layers.names == ("body.1", "body.2")


def test_a_network_that_is_frozen_as_a_whole_is_an_error() -> None:
    with pytest.raises(LayerError, match="has frozen all that could be trained"):
        _kept(_net().requires_grad_(requires_grad=False))


def test_adapters_go_beside_layers_that_are_not_frozen_as_a_whole() -> None:
    net = _net()
    net.get_submodule("body.0").requires_grad_(False)
    net.get_parameter("body.1.weight").requires_grad_(False)
    layers = adapt(net, _kept(net, whole=True), Lora(rank=2))
    assert layers.names == ("body.1", "body.2")
    assert all("lora_" in name for layer in layers for name in layer.tensor_names)
