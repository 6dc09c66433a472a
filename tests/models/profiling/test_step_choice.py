"""What a step of a causal model costs where the answers alone are scored, against executed steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from executed_steps import Bench, predicted
from fedstrata.domain.profile import StepProfile
from fedstrata.models.causal_head import with_frozen_head
from fedstrata.models.objective import Choice
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from questions import gpt2, llama

MASKS = [frozenset[int](), frozenset({0}), frozenset({1}), frozenset({0, 2}), frozenset({0, 1, 2})]
MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "llama": (llama, ()),
    "llama with its head trained": (llama, ("lm_head",)),
    "gpt2, tied": (gpt2, ()),
}


@pytest.fixture(scope="module", params=MAKERS)
def measured(request: pytest.FixtureRequest) -> tuple[Bench, StepProfile]:
    """Return a model with a batch, and its profile."""
    make, always = MAKERS[request.param]
    torch.manual_seed(0)
    model = make()
    layers = with_frozen_head(model, partition(model, always=always), always)
    bench = Bench(model, objective=Choice(), layers=layers)
    return bench, measure_step(bench.module, bench.layers, bench.inputs, Choice())


def test_operations_are_those_that_torch_counts(measured: tuple[Bench, StepProfile]) -> None:
    bench, profile = measured
    for mask in MASKS:
        assert profile.flops(mask) == bench.step(mask).flops, sorted(mask)


def test_peak_memory_is_that_of_an_executed_step(measured: tuple[Bench, StepProfile]) -> None:
    bench, profile = measured
    for mask in MASKS:
        real, composed = bench.step(mask), predicted(profile, bench, mask)
        assert composed.peak == pytest.approx(real.peak, rel=0.08), sorted(mask)


def test_the_head_works_on_scored_tokens_alone(measured: tuple[Bench, StepProfile]) -> None:
    bench, profile = measured
    blocks = list(map(str, profile.blocks))
    weight = bench.module.get_submodule("lm_head").get_parameter("weight")
    assert profile.forward[blocks.index("lm_head")] == 2 * len(bench.inputs["places"]) * weight.numel()
