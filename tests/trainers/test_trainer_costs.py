"""What trainers say that they cost, held against real steps: bytes alive as they run, and torch's own flop counter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import StateStore
from fedstrata.costs.measured import Measured
from fedstrata.costs.memory import training
from fedstrata.costs.protocol import Facts, Workload
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.domain.seeds import Seeds
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from fedstrata.models.profiling.tracker import Tracker
from fedstrata.trainers.augmented import OPERATION_FLOPS, ROW_COPIES, Augmented
from fedstrata.trainers.fedprox import FedProx
from fedstrata.trainers.images import OPERATIONS, operated
from fedstrata.trainers.protocol import Trainer
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import Origin, ProbePlan, Train, TrainPlan

A = ClientId("a")
ALL, ONE, NONE = frozenset({0, 1, 2}), frozenset({1}), frozenset[int]()


class Pooled(nn.Module):
    """The mean of each channel, three layers, a head: images are what is large where ``width`` is small."""

    def __init__(self, width: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Linear(3, width)
            self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
            self.head = nn.Linear(width, 4)

    def forward(self, pixel_values: Tensor) -> Tensor:
        hidden = self.stem(pixel_values.mean((2, 3)))
        for block in self.blocks:
            hidden = torch.tanh(block(hidden))
        logits: Tensor = self.head(hidden)
        return logits


class Bench:
    """A client with images; ``width`` of the model and ``size`` of the images say which of the two is large."""

    def __init__(self, width: int, size: int, rows: int, folder: Path | None = None) -> None:
        net = Pooled(width)
        self.model = ResidentModel(net, partition(net))
        self.layers = self.model.layers
        pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 3, size, size))).float()
        self.rows = TensorRows({"pixel_values": pixels}, torch.arange(rows) % 4)
        self.profile = replace(measure_step(net, self.layers, {"pixel_values": pixels}), rows=rows, length=None)
        self.folder = folder
        self.weights = self.model.weights()
        self.measured(Sgd(), ALL, "sgd")  # the first visit of all loads libraries

    def plan(self, optimizer: str) -> TrainPlan:
        return TrainPlan(steps=2, epochs=None, batch_size=len(self.rows), lr=0.01, optimizer=optimizer)  # type: ignore[arg-type]

    def priced(self, trainer: Trainer, mask: Mask, optimizer: str) -> float:
        """Return the price in bytes of memory, without margin."""
        plan = self.plan(optimizer)
        moments = training(self.profile, self.layers, plan, parameters=self.model.bytes, trainer=trainer.cost(plan))
        chosen = moments.setup[:, min(mask, default=-1)] + moments.each[:, sorted(mask)].sum(axis=1)
        return float(chosen.max())

    def measured(self, trainer: Trainer, mask: Mask, optimizer: str, round: int = 0) -> int:
        """Return the most bytes that are alive while a client trains, the model's among them."""
        clients = {A: ClientRows(self.rows, torch.arange(len(self.rows)), torch.arange(0))}
        store = None if self.folder is None else StateStore(self.folder)
        handler = Handler(self.model, clients, Seeds(0), trainer=trainer, states=store)
        states = None if store is None else tuple([(round - 1, 0)] if round else [])
        request = Train(A, round, self.weights, mask, self.plan(optimizer), Origin("r"), states=states)
        fixed = [*self.weights.values(), *self.model.module.parameters(), *self.rows.inputs.values(), self.rows.labels]
        with Tracker(fixed) as tracker:
            handler.handle(request)
        return int(self.model.bytes + tracker.peak)

    def facts(self, trainer: Trainer, optimizer: str) -> Facts:
        rows = len(self.rows)
        device = DeviceProfile(forward=1e9, carry=1e9, weight=1e9, update=1e9)
        return Facts(
            self.layers,
            self.plan(optimizer),
            ProbePlan(),
            {A: Workload(((rows, None), (rows, None)))},
            devices={A: device},
            profiles=lambda: (self.profile,),
            parameter_bytes=self.model.bytes,
            trainer=trainer.cost(self.plan(optimizer)),
        )


@pytest.fixture(scope="module")
def weights() -> Bench:
    """Return a client whose model is large and whose images are small."""
    return Bench(width=256, size=4, rows=4)


@pytest.fixture(scope="module")
def images() -> Bench:
    """Return a client whose images are large and whose model is small."""
    return Bench(width=8, size=64, rows=6)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("mask", [ALL, ONE, NONE], ids=len)
def test_the_difference_from_the_start_is_held_once_and_for_one_tensor_at_a_time(
    weights: Bench, mask: Mask, optimizer: str
) -> None:
    """FedProx keeps no copy of the weights that it starts from: they are the model's.

    AdamW's own update takes more; with the head alone a step's backward pass holds more than both.
    """
    plain, prox = weights.priced(Sgd(), mask, optimizer), weights.priced(FedProx(mu=0.5), mask, optimizer)
    largest = max(t.bytes for layer in weights.layers.blocks(mask) for t in layer.tensors)
    assert 0.95 * largest < prox - plain <= largest if mask and optimizer != "adamw" else prox == plain
    for trainer, price in ((Sgd(), plain), (FedProx(mu=0.5), prox)):
        assert weights.measured(trainer, mask, optimizer) == pytest.approx(price, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("trainer", [Sgd(), Augmented(), Augmented(flip=0, shift=4), Augmented(shift=4)], ids=repr)
def test_images_are_held_as_often_as_is_said(images: Bench, trainer: Trainer, optimizer: str) -> None:
    for mask in (ALL, ONE, NONE):
        assert images.measured(trainer, mask, optimizer) == pytest.approx(
            images.priced(trainer, mask, optimizer), rel=5e-3
        )


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_moments_and_gradients_are_held_while_images_are_changed(optimizer: str) -> None:
    both = Bench(width=128, size=128, rows=2)
    for mask in (ALL, ONE, NONE):
        assert both.measured(Augmented(), mask, optimizer) == pytest.approx(
            both.priced(Augmented(), mask, optimizer), rel=1e-3
        )


def test_operations_on_images_hold_no_more_than_is_said(images: Bench) -> None:
    for trainer in (Augmented(flip=0, randaugment=1), Augmented(randaugment=2), Augmented(shift=2, randaugment=1)):
        price = images.priced(trainer, ONE, "sgd")
        assert 0.8 * price < images.measured(trainer, ONE, "sgd") <= price


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_one_operation_makes_no_more_copies_than_is_said(operation: str, channels: int) -> None:
    image = torch.zeros(channels, 64, 64)
    with Tracker([image]) as tracker:
        operated(image, operation, 0.5)
    assert tracker.peak <= ROW_COPIES * image.nbytes + 2048


@pytest.mark.parametrize(("optimizer", "copies"), [("momentum", 1), ("adamw", 2)])
def test_writing_a_state_is_a_moment_of_its_own_and_the_step_holds_no_more_than_without(
    tmp_path: Path, optimizer: str, copies: int
) -> None:
    """All layers are trained first, so that the state is as large as it gets; then it outweighs a step of one layer."""
    bench = Bench(width=256, size=4, rows=4, folder=tmp_path)
    for round, mask in enumerate((ALL, ONE, NONE)):
        price = bench.priced(Sgd("kept"), mask, optimizer)
        assert bench.measured(Sgd("kept"), mask, optimizer, round) == pytest.approx(price, rel=1e-3)
        assert price >= bench.priced(Sgd(), mask, optimizer)
    assert bench.priced(Sgd("kept"), ALL, optimizer) == bench.priced(Sgd(), ALL, optimizer)
    (newest,) = tmp_path.rglob("0002-0.safetensors")
    trainable = sum(block.bytes for block in bench.layers.trainable)
    assert newest.stat().st_size == pytest.approx(copies * trainable, rel=0.01)


def test_operations_and_seconds_are_priced_per_number_and_weight_and_nothing_is_sent(images: Bench) -> None:
    def cost(trainer: Trainer) -> dict[str, float]:
        bound = Measured(margin=0.0).bind(images.facts(trainer, "momentum"))
        return dict(bound.prices(A, ClientRound()).of(ONE).items())

    plain, prox, changed = cost(Sgd()), cost(FedProx(mu=0.5)), cost(Augmented(randaugment=2))
    trained = sum(t.elements for block in images.layers.blocks(ONE) for t in block.tensors)
    numbers = images.rows.inputs["pixel_values"].numel()
    assert prox["flops"] - plain["flops"] == pytest.approx(2 * 3 * trained)
    assert prox["seconds"] - plain["seconds"] == pytest.approx(2 * 4 * 6 * trained / 1e9)
    assert changed["flops"] - plain["flops"] == pytest.approx(2 * 2 * OPERATION_FLOPS * numbers)
    assert changed["seconds"] - plain["seconds"] == pytest.approx(2 * 2 * OPERATION_FLOPS * numbers / 1e9)
    assert {c["bytes_up"] for c in (plain, prox, changed, cost(Sgd("kept")))} == {plain["bytes_up"]}
    assert cost(Sgd("kept"))["flops"] == plain["flops"]


def test_torch_counts_products_and_convolutions_alone_and_agrees_on_those(weights: Bench) -> None:
    """Of RandAugment it counts the filter of sharpness, two operations for each of 9 weights; the rest is ours."""
    counted = {}
    for trainer in (Sgd(), FedProx(mu=0.5), Augmented()):
        with FlopCounterMode(display=False) as counter:
            weights.measured(trainer, ONE, "sgd")
        counted[repr(trainer)] = counter.get_total_flops()
    assert set(counted.values()) == {2 * weights.profile.flops(ONE)}
    image = torch.zeros(3, 64, 64)
    flops = {}
    for operation in OPERATIONS:
        with FlopCounterMode(display=False) as counter:
            operated(image, operation, 0.5)
        flops[operation] = counter.get_total_flops() / image.numel()
    assert flops.pop("sharpness") == pytest.approx(18 * (62 / 64) ** 2)
    assert set(flops.values()) == {0}
    assert (5 * 11 + 1 + 4 + 4 + 21) / len(OPERATIONS) <= OPERATION_FLOPS
