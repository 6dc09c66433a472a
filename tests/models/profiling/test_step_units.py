"""Prices of halves and of matrices, against steps that are executed."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from executed_steps import MODELS, Bench, predicted, saved
from fedstrata.domain.layers import Mask
from fedstrata.domain.profile import StepProfile
from fedstrata.models.form import Lora, Units
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step

KINDS: dict[str, tuple[Units, Lora | None]] = {
    "halves": ("halves", None),
    "lora": ("blocks", Lora(rank=2, dropout=0.1)),
    "lora-halves": ("halves", Lora(rank=2)),
}
CASES = [("bert", "halves"), ("llama", "halves"), ("vit", "lora"), ("bert", "lora-halves")]


@cache
def measured(name: str, kind: str) -> tuple[Bench, StepProfile]:
    torch.manual_seed(0)
    units, adapter = KINDS[kind]
    model = MODELS[name]()
    layers = adapt(model, partition(model, units=units), adapter, units=units)
    bench = Bench(model, layers=layers)
    return bench, measure_step(bench.module, bench.layers, bench.inputs)


def some_masks(layers: int) -> list[Mask]:
    """Return no layer, all, the last, and some."""
    return [frozenset(m) for m in ((), range(layers), (layers - 1,), (1, layers // 2, layers - 1))]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_operations_and_bytes_kept_are_those_of_an_executed_step(name: str, kind: str) -> None:
    bench, profile = measured(name, kind)
    for mask in some_masks(profile.layers):
        real = bench.step(mask)
        assert profile.flops(mask) == real.flops, sorted(mask)
        assert real.saved <= saved(profile, mask) <= 1.04 * real.saved, sorted(mask)
        composed = predicted(profile, bench, mask)
        assert composed.peak == pytest.approx(real.peak, rel=0.08), sorted(mask)
        assert composed.update_peak == pytest.approx(real.update_peak, rel=1e-3), sorted(mask)


def test_cross_attention_is_priced_within_three_percent() -> None:
    bench, profile = measured("t5", "lora-halves")
    for mask in some_masks(profile.layers):
        assert profile.flops(mask) == pytest.approx(bench.step(mask).flops, rel=0.03), sorted(mask)


def test_gradient_stops_at_the_lowest_half() -> None:
    _, profile = measured("bert", "halves")
    attention, mlp = profile.blocks.index("bert.encoder.layer.3.attention"), profile.layer.index(7)
    lowest_mlp, lowest_attention = profile.carry[7], profile.carry[6]
    assert lowest_mlp[attention] == 0
    assert lowest_attention[mlp] > lowest_mlp[mlp] > 0
    assert profile.flops(frozenset({7})) < profile.flops(frozenset({6}))


def test_two_halves_cost_what_their_block_costs() -> None:
    torch.manual_seed(0)
    whole = Bench(MODELS["bert"]())
    profile, halves = measure_step(whole.module, whole.layers, whole.inputs), measured("bert", "halves")[1]
    for block in range(4):
        both = frozenset({2 * block, 2 * block + 1})
        assert halves.flops(both) == profile.flops(frozenset({block}))


def test_frozen_weights_get_no_weight_gradient() -> None:
    _, profile = measured("vit", "lora")
    columns = [profile.layer.index(i) for i in range(1, 4)]  # the first is never carried through
    width, inner, tokens, rank = 48, 96, 4 * 17, 2
    products = 4 * (width + width) + 2 * (width + inner)  # in and out of query, key, value, output; of two MLP layers
    assert profile.weight[columns].tolist() == [2 * tokens * rank * products] * 3
