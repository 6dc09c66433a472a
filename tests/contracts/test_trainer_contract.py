"""What every trainer owes its callers; the trainers are drawn from the catalog."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from every_kind import every
from fedstrata.client.resident import ResidentModel
from fedstrata.client.train import LocalResult, train
from fedstrata.config.catalog import build, describe
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.ids import TensorName
from fedstrata.trainers.protocol import ClientState, Trainer
from fedstrata.wire.messages import TrainPlan
from toys import ToyNet, copy_of, same_bits, toy_layers

TRAINERS: list[Trainer] = every(
    "trainer",
    {"kind": "fedprox", "mu": 1.0},
    {"kind": "sgd", "optimizer_state": "kept"},
    {"kind": "augmented", "shift": 2, "randaugment": 2, "magnitude": 30.0, "inner": {"kind": "fedprox", "mu": 0.5}},
)
ROWS = 12


class ImageNet(ToyNet):
    """The toy network on images of three channels, 6 by 6."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        corners = torch.stack([pixel_values[:, :, :3, :3], pixel_values[:, :, 3:, 3:]]).mean((0, 3, 4))
        return super().forward(torch.cat([corners, pixel_values.mean((1, 2, 3))[:, None]], 1))


def images() -> TensorRows:
    pixels = torch.from_numpy(np.random.default_rng(3).normal(size=(ROWS, 3, 6, 6))).float()
    return TensorRows({"pixel_values": pixels}, (pixels.mean((1, 2, 3)) > 0).long())


def trained(
    trainer: Trainer,
    *,
    seed: int = 0,
    together: int = 1,
    rows: TensorRows | None = None,
    optimizer: Literal["sgd", "momentum", "adamw"] = "sgd",
    state: ClientState | None = None,
) -> LocalResult:
    net = ImageNet()
    model = ResidentModel(net, toy_layers(net))
    return train(
        model,
        model.weights(),
        mask=frozenset({1}),
        rows=rows or images(),
        indices=torch.arange(ROWS),
        plan=TrainPlan(steps=4, epochs=None, batch_size=4, lr=0.1, optimizer=optimizer),
        rng=np.random.default_rng(seed),
        together=together,
        trainer=trainer,
        state=state,
    )


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_it_is_built_again_from_its_description(trainer: Trainer) -> None:
    assert build("trainer", describe(trainer), ("trainer",)) == trainer


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_the_same_seed_gives_the_same_bits_whatever_else_was_drawn(trainer: Trainer) -> None:
    first = trained(trainer)
    torch.rand(5)
    assert same_bits(first.deltas, trained(trainer).deltas)
    assert not same_bits(first.deltas, trained(trainer, seed=1).deltas)


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_it_trains_the_mask_and_what_everyone_trains_and_leaves_rows_and_global_numbers(trainer: Trainer) -> None:
    rows = images()
    before, drawn = rows.inputs["pixel_values"].clone(), torch.get_rng_state()
    deltas = trained(trainer, rows=rows).deltas
    assert {name.rpartition(".")[0] for name in deltas} == {"blocks.1", "head"}
    assert all(delta.abs().sum() > 0 for delta in deltas.values())
    assert torch.equal(rows.inputs["pixel_values"], before)
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_rows_in_groups_are_trained_on_as_they_are(trainer: Trainer) -> None:
    """Under one seed and another the update of a whole group is the same: no seed weighs its rows apart."""
    assert same_bits(trained(trainer, together=ROWS).deltas, trained(trainer, together=ROWS, seed=1).deltas)


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_it_never_changes_the_global_weights_that_a_round_began_with(trainer: Trainer) -> None:
    start = {TensorName("w"): torch.ones(3)}
    before, weight = copy_of(start), nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    weight.grad = torch.ones(3)
    trainer.correct({TensorName("w"): weight}, start, {})
    assert same_bits(start, before)
    assert torch.equal(weight.detach(), torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_a_batch_keeps_its_rows_names_and_types(trainer: Trainer) -> None:
    inputs, labels = images().take(torch.arange(5))
    changed, same = trainer.batch(inputs, labels)
    assert {n: (t.shape, t.dtype) for n, t in changed.items()} == {n: (t.shape, t.dtype) for n, t in inputs.items()}
    assert len(same) == 5
    assert all(0 <= trainer.rate(step, 4) < float("inf") for step in range(4))


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_what_it_keeps_is_of_what_it_trained_and_as_much_as_it_says(
    trainer: Trainer, optimizer: Literal["momentum", "adamw"]
) -> None:
    first, copies = trained(trainer, optimizer=optimizer), trainer.cost(TrainPlan(optimizer=optimizer)).kept_copies
    kept = {name: sum(tensor.numel() for tensor in of.values()) for name, of in first.state.items()}
    assert all(
        copies * first.deltas[n].numel() <= size <= copies * first.deltas[n].numel() + 1 for n, size in kept.items()
    )
    assert bool(kept) == bool(copies)


@pytest.mark.parametrize("trainer", TRAINERS, ids=repr)
def test_a_state_is_taken_up_and_the_same_one_gives_the_same_bits(trainer: Trainer) -> None:
    def again() -> ClientState:
        return trained(trainer, optimizer="adamw").state

    new, other = trained(trainer, optimizer="adamw"), trained(trainer, optimizer="adamw", state=again())
    assert same_bits(other.deltas, trained(trainer, optimizer="adamw", state=again()).deltas)
    assert same_bits(new.deltas, other.deltas) == (not new.state)
