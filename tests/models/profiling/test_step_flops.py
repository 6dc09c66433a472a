from __future__ import annotations

from functools import cache

import pytest
import torch

from executed_steps import MODELS, Bench, Executed, masks_for, predicted, saved
from fedstrata.domain.layers import Mask
from fedstrata.domain.profile import StepProfile
from fedstrata.models.profiling.step import measure_step

DRAWN = 4
"""Masks that are drawn, beside none, all and each layer alone; ``make soak`` draws twenty."""


@cache
def measured(name: str) -> tuple[Bench, StepProfile]:
    torch.manual_seed(0)
    bench = Bench(MODELS[name]())
    return bench, measure_step(bench.module, bench.layers, bench.inputs)


@cache
def executed(name: str, mask: Mask, optimizer: str = "sgd") -> Executed:
    return measured(name)[0].step(mask, optimizer)


@pytest.mark.parametrize("drawn", [DRAWN])
@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_that_torch_counts_in_an_executed_step(name: str, drawn: int) -> None:
    _, profile = measured(name)
    for mask in masks_for(profile.layers, drawn):
        counted = executed(name, mask).flops
        assert counted > 0
        # T5: a decoder layer's gradients of keys and values are a part of its weights' only if no encoder layer trains
        assert profile.flops(mask) == pytest.approx(counted, rel=0.01 if name == "t5" else 0), sorted(mask)


@pytest.mark.parametrize("drawn", [DRAWN])
@pytest.mark.parametrize("name", MODELS)
def test_bytes_kept_are_those_that_autograd_keeps_in_an_executed_step(name: str, drawn: int) -> None:
    _, profile = measured(name)
    for mask in masks_for(profile.layers, drawn):
        kept = executed(name, mask).saved
        assert kept <= saved(profile, mask) <= 1.04 * kept, sorted(mask)


@pytest.mark.parametrize("drawn", [2])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("name", MODELS)
def test_peak_memory_is_that_of_an_executed_step(name: str, optimizer: str, drawn: int) -> None:
    bench, profile = measured(name)
    for mask in masks_for(profile.layers, drawn):
        real, composed = executed(name, mask, optimizer), predicted(profile, bench, mask, optimizer)
        # the top layer's gradients count as whole while it runs backward, though what it kept is let go meanwhile
        assert 0.98 * real.forward_peak <= composed.forward_peak <= 1.08 * real.forward_peak, sorted(mask)
        assert 0.98 * real.backward_peak <= composed.backward_peak <= 1.1 * real.backward_peak, sorted(mask)
        assert composed.update_peak == pytest.approx(real.update_peak, rel=1e-3), sorted(mask)


@pytest.mark.parametrize("name", MODELS)
def test_adding_a_layer_lowers_neither_operations_nor_bytes_kept(name: str) -> None:
    _, profile = measured(name)
    for mask in masks_for(profile.layers):
        for layer in range(profile.layers):
            more = mask | {layer}
            assert profile.flops(more) >= profile.flops(mask)
            assert saved(profile, more) >= saved(profile, mask)


@pytest.mark.parametrize("name", MODELS)
def test_row_of_a_lower_layer_is_nowhere_cheaper(name: str) -> None:
    _, profile = measured(name)
    base = profile.saved.sum(axis=1)[:-1] - [profile.saved_extra[profile.layer.index(i)] for i in range(profile.layers)]
    carry = profile.carry.sum(axis=1)
    assert (carry[:-1] >= carry[1:]).all()
    assert (base[:-1] >= base[1:]).all()
    assert base[-1] >= profile.saved[-1].sum()
