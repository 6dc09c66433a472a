"""The prefix cache: same bits with any amount of memory, and the results of the whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build
from fedstrata.client.evaluate import evaluate
from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.probe import probe
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import LocalResult, train
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Mask
from fedstrata.domain.stats import Statistic
from fedstrata.errors import ClientError
from fedstrata.models.form import Lora
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.trainers.augmented import Augmented
from fedstrata.trainers.protocol import Trainer
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan, Weights
from toys import ToyNet, same_bits, toy_layers, toy_rows

ROWS, EPOCHS = 12, 3
FAMILIES = ("vit", "bert", "distilbert", "gpt2", "llama", "t5", "swin", "resnet")
PLENTY = 10**9


def rows_for(net: nn.Module, settings: dict[str, object]) -> TensorRows:
    """Return images, or texts of 4 to 11 tokens of which the last is T5's end of text."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (ROWS,), generator=draw)
    if net.main_input_name == "pixel_values":
        side = 32 if "hidden_sizes" in settings else 16 if "embed_dim" in settings else 8
        return TensorRows({"pixel_values": torch.randn(ROWS, 3, side, side, generator=draw)}, labels)
    lengths = torch.randint(4, 12, (ROWS,), generator=draw)
    ids = torch.randint(3, 50, (ROWS, 12), generator=draw)
    mask = (torch.arange(12) < lengths[:, None]).long()
    ids[torch.arange(ROWS), lengths - 1] = 1
    return TensorRows({"input_ids": ids * mask, "attention_mask": mask}, labels)


def made(name: str, **more: object) -> tuple[ResidentModel, TensorRows]:
    settings = {**ARCHITECTURES[name][2], **more}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(name, settings, "cpu")
    return ResidentModel(net, partition(net)), rows_for(net, settings)


def trained(
    model: ResidentModel,
    rows: TensorRows,
    mask: Mask,
    cache: PrefixCache | None = None,
    *,
    weights: Weights | None = None,
    trainer: Trainer = Sgd(),  # noqa: B008  a value
    **plan: object,
) -> LocalResult:
    asked = replace(TrainPlan(epochs=EPOCHS, batch_size=4, lr=0.05), **plan)  # type: ignore[arg-type]
    return train(
        model,
        weights or model.weights(),
        mask=mask,
        rows=rows,
        indices=torch.arange(ROWS),
        plan=asked,
        rng=np.random.default_rng(1),
        trainer=trainer,
        cache=cache,
    )


def close(a: Weights, b: Weights) -> bool:
    """Return whether updates are equal but for rounding, relative to the largest of all their numbers."""
    most = max(float(t.abs().max()) for t in b.values())
    return all(float((a[n] - b[n]).abs().max()) <= 1e-5 * most for n in b)


@pytest.mark.parametrize("name", FAMILIES)
def test_memory_changes_no_bit_and_the_prefix_no_result(name: str) -> None:
    model, rows = made(name, **({"dropout_rate": 0.0} if name == "t5" else {}))
    mask, weights, cache = frozenset({len(model.layers) - 1}), model.weights(), PrefixCache(model, PLENTY)

    def visit(cache: PrefixCache | None, prefix: str | None = "fp32") -> LocalResult:
        return trained(model, rows, mask, cache, weights=weights, dropout="trained", prefix=prefix)

    whole, first, again = visit(None, None), visit(cache), visit(cache)
    nothing, little = visit(PrefixCache(model, 0)), visit(PrefixCache(model, cache.store.bytes // 2))
    assert first.prefix.state == "cached"
    assert (first.prefix.computed, again.prefix.computed, again.prefix.read) == (ROWS, 0, ROWS * EPOCHS)
    assert nothing.prefix.read == 0 < nothing.prefix.computed
    assert all(same_bits(first.deltas, other.deltas) for other in (again, nothing, little))
    assert close(first.deltas, whole.deltas)


def test_a_layer_with_nothing_but_embeddings_below_is_trained_as_without_a_cache() -> None:
    model, rows = made("vit")
    asked = trained(model, rows, frozenset({0}), PrefixCache(model, PLENTY), prefix="fp32")
    assert asked.prefix.state == "no-block"
    assert same_bits(asked.deltas, trained(model, rows, frozenset({0})).deltas)


def test_dropout_in_the_prefix_is_noticed_and_left_on() -> None:
    model, rows = made("bert")
    top = frozenset({2})
    asked = trained(model, rows, top, PrefixCache(model, PLENTY), prefix="fp32")
    assert asked.prefix.state == "dropout"
    assert same_bits(asked.deltas, trained(model, rows, top).deltas)


def test_dropout_of_trained_layers_alone_is_that_of_a_model_without_dropout_below() -> None:
    model, rows = made("bert")
    own = model.module.get_submodule("bert.encoder.layer.2")
    found = trained(model, rows, frozenset({2}), dropout="trained")
    for module in model.module.modules():
        if isinstance(module, nn.Dropout) and module not in own.modules() and module is not model.module.dropout:
            module.p = 0.0
    assert same_bits(found.deltas, trained(model, rows, frozenset({2})).deltas)


def test_rows_that_a_trainer_changes_go_through_the_whole_model() -> None:
    model, rows = made("vit")
    cache, trainer = PrefixCache(model, PLENTY), Augmented(flip=1.0)
    asked = trained(model, rows, frozenset({2}), cache, trainer=trainer, prefix="fp32")
    assert asked.prefix.state == "augmented"
    assert same_bits(asked.deltas, trained(model, rows, frozenset({2}), trainer=trainer).deltas)


def test_a_visit_of_few_steps_goes_through_the_whole_model() -> None:
    model, rows = made("vit")
    few = trained(model, rows, frozenset({2}), PrefixCache(model, PLENTY), prefix="fp32", epochs=None, steps=2)
    assert few.prefix.state == "few-rows"


def test_a_network_whose_own_code_adds_to_its_blocks_keeps_all_of_them() -> None:
    net = ToyNet()
    model, rows = ResidentModel(net, toy_layers(net)), toy_rows(ROWS)
    cached = trained(model, rows, frozenset({2}), PrefixCache(model, PLENTY), prefix="fp32")
    assert cached.prefix.state == "cached"
    assert cached.prefix.bytes == ROWS * 3 * 6 * 4  # the stem's and two blocks' outputs
    assert close(cached.deltas, trained(model, rows, frozenset({2})).deltas)


class Remembering(nn.Module):
    """A network that counts how often it ran, and lets every other run take another way."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 3)
        self.runs = 0

    def forward(self, features: Tensor) -> Tensor:
        self.runs += 1
        order = (0, 1, 2) if self.runs % 2 else (1, 0, 2)
        for place in order:
            features = torch.tanh(self.blocks[place](features))
        logits: Tensor = self.head(features)
        return logits


def test_a_network_that_runs_its_blocks_in_changing_order_recomputes() -> None:
    net = Remembering()
    model = ResidentModel(net, partition(net))
    assert trained(model, toy_rows(ROWS), frozenset({2}), prefix="fp32").prefix.state == "model"


def test_dropout_of_trained_layers_alone_is_refused_where_no_one_can_tell_what_lies_below() -> None:
    net = Remembering()
    model = ResidentModel(net, partition(net))
    with pytest.raises(ClientError, match=r"set train\.dropout: all"):
        trained(model, toy_rows(ROWS), frozenset({2}), dropout="trained")


def moved(weights: Weights, model: ResidentModel, layer: int) -> Weights:
    """Return weights of which one layer is other tensors with other numbers, and the rest the same objects."""
    names = set(model.layers.layers[layer].tensor_names)
    return {n: t + 0.1 if n in names else t for n, t in weights.items()}


def test_what_is_kept_is_computed_again_once_a_layer_below_has_moved() -> None:
    model, rows = made("vit")
    cache, top = PrefixCache(model, PLENTY), frozenset({2})
    before = model.weights()
    trained(model, rows, top, cache, weights=before, prefix="fp32")
    for layer, computed in ((2, 0), (1, ROWS)):
        after = moved(before, model, layer)
        found = trained(model, rows, top, cache, weights=after, prefix="fp32")
        fresh = trained(model, rows, top, weights=after, prefix="fp32")
        assert found.prefix.computed == computed
        assert same_bits(found.deltas, fresh.deltas)


def test_a_prefix_that_shares_a_tensor_with_what_is_trained_is_none() -> None:
    model, rows = made("vit")
    low, _, high = (
        block.get_submodule("layernorm_before") for block in model.module.get_submodule("vit.layers").children()
    )
    high.weight = low.weight
    tied = ResidentModel(model.module, partition(model.module))
    assert tied.layers.layers[0].tied_with
    for layer, state in ((0, "no-block"), (2, "cached")):  # the tensor belongs to the lower of the two
        cache = PrefixCache(tied, PLENTY)
        assert trained(tied, rows, frozenset({layer}), cache, prefix="fp32").prefix.state == state


@pytest.mark.parametrize(("held", "bound"), [("bf16", 0.05), ("fp16", 0.005)])
def test_values_in_half_the_bytes_are_near_and_the_same_without_memory(held: str, bound: float) -> None:
    model, rows = made("vit")
    cache, top = PrefixCache(model, PLENTY), frozenset({2})
    whole = trained(model, rows, top, prefix="fp32")
    half = trained(model, rows, top, cache, prefix=held)
    assert half.prefix.bytes == ROWS * 17 * 16 * 2
    assert same_bits(half.deltas, trained(model, rows, top, PrefixCache(model, 0), prefix=held).deltas)
    assert not same_bits(half.deltas, whole.deltas)
    most = max(float(t.abs().max()) for t in whole.deltas.values())
    assert all(float((half.deltas[n] - t).abs().max()) <= bound * most for n, t in whole.deltas.items())


@pytest.mark.parametrize("units", ["blocks", "halves"])
def test_halves_of_a_block_are_left_out_with_the_whole_block_below(units: str) -> None:
    net = made("vit")[0].module
    model, rows = ResidentModel(net, partition(net, units=units)), made("vit")[1]  # type: ignore[arg-type]
    last = frozenset({len(model.layers) - 1})
    cached = trained(model, rows, last, PrefixCache(model, PLENTY), prefix="fp32")
    assert cached.prefix.state == "cached"
    assert close(cached.deltas, trained(model, rows, last).deltas)


def test_adapters_are_trained_on_what_the_frozen_layers_below_give() -> None:
    net, rows = made("vit")[0].module, made("vit")[1]
    model = ResidentModel(net, adapt(net, partition(net), Lora(rank=2), seed=3))
    cached = trained(model, rows, frozenset({2}), PrefixCache(model, PLENTY), prefix="fp32")
    assert cached.prefix.state == "cached"
    assert close(cached.deltas, trained(model, rows, frozenset({2})).deltas)


def test_evaluation_has_the_bits_of_the_whole_model() -> None:
    model, rows = made("bert")
    cache, indices = PrefixCache(model, PLENTY), torch.arange(ROWS)
    weights: Weights = model.weights()

    def look(now: Weights, cache: PrefixCache | None) -> tuple[float, int]:
        return evaluate(model, now, rows=rows, indices=indices, batch_size=5, cache=cache)

    kept: list[int] = []
    for layer in (None, 2, 2, 1, 1, 2):
        weights = weights if layer is None else moved(weights, model, layer)
        assert look(weights, cache) == look(weights, None)
        kept.append(cache.store.bytes)
    assert kept[0] == 0 < kept[1]


def test_evaluation_leaves_out_what_training_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = made("vit")
    ran: list[int] = []

    def noting(number: int, forward: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **more: object) -> object:
            ran.append(number)
            return forward(*args, **more)

        return run

    for number, block in enumerate(model.module.get_submodule("vit.layers").children()):
        monkeypatch.setitem(block.__dict__, "forward", noting(number, block.forward))
    cache = PrefixCache(model, PLENTY)
    weights: Weights = model.weights()
    for round_ in range(3):
        ran.clear()
        evaluate(model, weights, rows=rows, indices=torch.arange(ROWS), batch_size=ROWS, cache=cache)
        if round_ == 2:
            assert ran == [2]
        weights = moved(weights, model, 2)


def test_a_probe_above_frozen_layers_measures_the_same() -> None:
    net = made("vit")[0].module
    model, rows = ResidentModel(net, partition(net, candidates="last:1")), made("vit")[1]
    weights, cache = model.weights(), PrefixCache(model, PLENTY)
    indices = torch.arange(ROWS)

    def prefix(parameters: dict[TensorName, nn.Parameter]) -> object:
        return cache.visit(weights, parameters, rows=rows, indices=indices)

    def measure(prefix: object) -> Sequence[float]:
        asked = frozenset({Statistic.NORM})
        stats, loss = probe(model, weights, rows=rows, indices=indices, batch_size=5, statistics=asked, prefix=prefix)  # type: ignore[arg-type]
        return [loss, *(t.grad_sq for layer in stats for t in layer.tensors)]

    assert measure(prefix) == pytest.approx(measure(None), rel=1e-5)
    assert cache.store.bytes == ROWS * 17 * 16 * 4
