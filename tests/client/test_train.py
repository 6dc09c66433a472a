"""Local training: it moves what it should, by how much it should, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedstrata.client.batching import local_steps
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import LocalResult, autocast_dtype, batches, train
from fedstrata.domain.layers import Mask
from fedstrata.errors import ClientError, ConfigError
from fedstrata.wire.messages import TrainPlan
from toys import copy_of, same_bits, toy_model, toy_rows

ROWS = toy_rows(20)
ALL = torch.arange(20)
EVERY: Mask = frozenset({0, 1, 2})
ONE_STEP = TrainPlan(steps=1, epochs=None, batch_size=0, lr=0.1)


def run(
    plan: TrainPlan,
    *,
    mask: Mask = EVERY,
    model: ResidentModel | None = None,
    indices: Tensor = ALL,
    seed: int = 0,
    together: int = 1,
) -> LocalResult:
    model = model or toy_model()
    return train(
        model,
        model.weights(),
        mask=mask,
        rows=ROWS,
        indices=indices,
        plan=plan,
        rng=np.random.default_rng(seed),
        together=together,
    )


def test_one_full_batch_step_is_minus_lr_times_the_gradient() -> None:
    net = toy_model().module.requires_grad_(True)
    inputs, labels = ROWS.take(ALL)
    nn.functional.cross_entropy(net(inputs["features"]), labels).backward()
    for name, delta in run(ONE_STEP).deltas.items():
        gradient = dict(net.named_parameters())[name].grad
        assert gradient is not None
        assert torch.allclose(delta, -0.1 * gradient, atol=1e-7)


def test_the_update_of_a_group_of_rows_depends_on_no_seed() -> None:
    """With dropout every seed weighs the rows in another way: enough answers, and each row's part can be solved for."""
    grouped, single = (
        [run(ONE_STEP, model=toy_model(dropout=0.5), seed=seed, together=n).deltas for seed in (1, 2)] for n in (20, 1)
    )
    assert same_bits(*grouped)
    assert not same_bits(*single)


def test_local_training_moves_the_weights_and_steps_matter() -> None:
    """The released code cleared gradients before each optimizer step: no step ever moved anything."""
    one, five = (run(TrainPlan(steps=s, epochs=None, batch_size=4, lr=0.1)).deltas for s in (1, 5))
    for name in one:
        assert float(one[name].abs().max()) > 0
        assert not torch.equal(one[name], five[name])


@pytest.mark.parametrize("mask", [frozenset[int](), frozenset({0}), frozenset({1, 2}), EVERY])
def test_deltas_are_exactly_those_of_the_mask_and_always(mask: Mask) -> None:
    blocks = {name.rsplit(".", 1)[0] for name in run(ONE_STEP, mask=mask).deltas}
    assert blocks == {f"blocks.{i}" for i in mask} | {"head"}


def test_the_model_is_left_as_it_was() -> None:
    model = toy_model()
    before = copy_of(model.weights())
    run(ONE_STEP, model=model)
    assert same_bits(model.weights(), before)


@pytest.mark.parametrize("lowest", [0, 1, 2])
def test_back_propagation_stops_at_the_lowest_selected_layer(lowest: int) -> None:
    model = toy_model()
    reached: list[int] = []
    for i in range(3):
        model.module.get_submodule(f"blocks.{i}").register_forward_hook(
            lambda _m, _i, out, i=i: reached.append(i) if out.requires_grad else None
        )
    run(ONE_STEP, mask=frozenset({lowest}), model=model)
    assert reached == list(range(lowest, 3))


def test_adamw_first_step_moves_by_the_learning_rate() -> None:
    plan = replace(ONE_STEP, optimizer="adamw", lr=0.01)
    bias = run(plan).deltas["head.bias"]  # type: ignore[index]
    assert torch.allclose(bias.abs(), torch.full_like(bias, 0.01), rtol=1e-3)


def test_momentum_accelerates_a_constant_gradient() -> None:
    plan = TrainPlan(steps=2, epochs=None, batch_size=0, lr=1e-4, optimizer="momentum", momentum=0.5)
    one = run(replace(ONE_STEP, lr=1e-4)).deltas["head.bias"]  # type: ignore[index]
    assert torch.allclose(run(plan).deltas["head.bias"], 2.5 * one, rtol=1e-2)  # type: ignore[index]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_what_everyone_trains_has_a_learning_rate_of_its_own(optimizer: Literal["sgd", "momentum", "adamw"]) -> None:
    plan = replace(ONE_STEP, lr=0.01, optimizer=optimizer)
    one, own = run(plan).deltas, run(replace(plan, always_lr=0.03)).deltas
    head = {block.name for block in toy_model().layers.always}
    for name, delta in own.items():
        factor = 3.0 if name.partition(".")[0] in head else 1.0
        assert torch.allclose(delta, factor * one[name], rtol=1e-4, atol=1e-7)


def test_clipping_bounds_the_step() -> None:
    deltas = run(replace(ONE_STEP, lr=1.0, clip_norm=0.01)).deltas
    assert float(torch.cat([d.flatten() for d in deltas.values()]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_shrinks_weights() -> None:
    plan = replace(ONE_STEP, lr=0.1, weight_decay=1.0)
    plain, decayed = run(ONE_STEP).deltas, run(plan).deltas
    weights = toy_model().weights()
    for name, delta in decayed.items():
        assert torch.allclose(delta - plain[name], -0.1 * weights[name], atol=1e-6)


def test_dropout_follows_the_clients_stream_and_leaves_the_global_one() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a = run(ONE_STEP, model=toy_model(dropout=0.5), seed=1).deltas
    assert torch.equal(torch.rand(1), expected)
    assert same_bits(a, run(ONE_STEP, model=toy_model(dropout=0.5), seed=1).deltas)
    assert not same_bits(a, run(ONE_STEP, model=toy_model(dropout=0.5), seed=2).deltas)


def test_epochs_visit_every_row_once_each() -> None:
    plan = TrainPlan(steps=None, epochs=2, batch_size=6)
    drawn = torch.cat(list(batches(torch.arange(10), plan, np.random.default_rng(0))))
    assert torch.bincount(drawn).tolist() == [2] * 10


@pytest.mark.parametrize("together", [1, 3, 4])
@pytest.mark.parametrize("size", [0, 1, 3, 5, 8, 20, 50])
@pytest.mark.parametrize(("steps", "epochs"), [(None, 1), (None, 3), (7, None), (7, 2), (1, 1)])
def test_steps_are_counted_as_they_are_cut(steps: int | None, epochs: int | None, size: int, together: int) -> None:
    plan = TrainPlan(steps=steps, epochs=epochs, batch_size=size)
    for rows in range(1, 24):
        cut = list(batches(torch.arange(rows), plan, np.random.default_rng(0), together))
        assert local_steps(plan, rows, together) == len(cut)


def test_steps_cut_epochs() -> None:
    plan = TrainPlan(steps=7, epochs=None, batch_size=6)
    assert len(list(batches(torch.arange(10), plan, np.random.default_rng(0)))) == 7


@pytest.mark.parametrize("lr", [1e38, float("nan")])
def test_a_loss_that_is_not_finite_is_an_error_with_advice(lr: float) -> None:
    with pytest.raises(ClientError, match=r"not finite|became") as caught:
        run(TrainPlan(steps=5, epochs=None, batch_size=4, lr=lr))
    assert caught.value.reason == "NONFINITE"
    assert "train.lr" in str(caught.value)


def test_nothing_to_train_is_an_error() -> None:
    model = toy_model()
    object.__setattr__(model.layers, "always", ())
    with pytest.raises(ClientError, match="nothing to train"):
        run(ONE_STEP, mask=frozenset(), model=model)


def test_bf16_autocast_trains_on_cpu() -> None:
    deltas = run(replace(ONE_STEP, precision="bf16")).deltas
    for name, delta in run(ONE_STEP).deltas.items():
        assert deltas[name].dtype is torch.float32
        assert torch.allclose(deltas[name], delta, atol=5e-3)


@pytest.mark.parametrize(("precision", "expected"), [("auto", None), ("fp32", None), ("bf16", torch.bfloat16)])
def test_precision_on_cpu(precision: Literal["auto", "fp32", "bf16"], expected: torch.dtype | None) -> None:
    assert autocast_dtype(precision, torch.device("cpu")) is expected


def test_fp16_on_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        autocast_dtype("fp16", torch.device("cpu"))
