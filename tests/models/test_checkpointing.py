from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from executed_steps import MODELS, Bench, batch_for, predicted
from fedstrata.client.resident import ResidentModel
from fedstrata.domain.layers import Mask
from fedstrata.models.checkpointing import checkpointed
from fedstrata.models.form import Lora
from fedstrata.models.frozen_bf16 import set_base
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from fedstrata.models.profiling.tracker import Tracker


def _gradients(model: ResidentModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    model.set_training()
    with model.training(model.weights(), frozenset({1, 3})) as trained:
        torch.manual_seed(5)  # dropout
        model.logits(inputs).square().sum().backward()
        return {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}


@pytest.mark.parametrize("name", ["bert", "vit", "llama"])
def test_gradients_are_the_same_bits_dropout_included(name: str) -> None:
    torch.manual_seed(0)
    network = MODELS[name]()
    layers, inputs = partition(network), batch_for(network)
    plain = _gradients(ResidentModel(network, layers), inputs)
    again = _gradients(ResidentModel(network, layers, checkpointing=True), inputs)
    assert plain.keys() == again.keys() != set()
    assert all(torch.equal(plain[key], again[key]) for key in plain)


def _peak(bench: Bench, mask: Mask) -> int:
    """Return the most bytes alive in a real step up to its update; torch's counter of operations would keep some."""
    bench.resident.set_training()
    fixed = (*bench.module.parameters(), *bench.module.buffers(), *bench.inputs.values(), bench.labels)
    static = sum(t.untyped_storage().nbytes() for t in fixed)
    with bench.resident.training(bench.weights, mask) as trained:
        tracker = Tracker((*fixed, *trained.values()))
        with tracker:
            bench._loss().backward()
        return static + sum(p.nbytes for p in trained.values()) + tracker.peak


def test_nothing_is_left_on_the_modules_when_a_call_fails() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2))
    with pytest.raises(RuntimeError), checkpointed(network, partition(network)):
        network(torch.ones(1, 3))
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize(("name", "adapter"), [("bert", None), ("llama", None), ("vit", Lora(rank=2))])
def test_a_checkpointed_step_is_measured_as_it_runs(name: str, adapter: Lora | None) -> None:
    torch.manual_seed(0)
    network = MODELS[name]()
    layers = adapt(network, partition(network), adapter)
    plain = measure_step(network, layers, batch_for(network))
    bench = Bench(network, layers=layers, checkpointing=True)
    profile = measure_step(network, layers, bench.inputs, checkpointing=True)
    for mask in (frozenset[int](), frozenset({3}), frozenset({0, 2}), layers.everything):
        assert profile.flops(mask) == pytest.approx(bench.step(mask).flops, rel=0.02), sorted(mask)
        assert predicted(profile, bench, mask).peak == pytest.approx(_peak(bench, mask), rel=0.1), sorted(mask)
        assert mask == frozenset() or profile.flops(mask) > plain.flops(mask)
    whole = layers.everything
    assert predicted(profile, bench, whole).peak < 0.85 * predicted(plain, bench, whole).peak


def test_a_checkpointed_step_on_a_small_base_is_measured_as_it_runs() -> None:
    torch.manual_seed(0)
    network = MODELS["llama"]()
    layers = set_base(network, adapt(network, partition(network), Lora(rank=2)), "bf16")
    bench = Bench(network, layers=layers, checkpointing=True)
    profile = measure_step(network, layers, bench.inputs, checkpointing=True)
    for mask in (frozenset({3}), layers.everything):
        assert predicted(profile, bench, mask).peak == pytest.approx(_peak(bench, mask), rel=0.1), sorted(mask)
