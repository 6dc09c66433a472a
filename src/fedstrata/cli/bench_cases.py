"""What ``fedstrata bench client`` times: a client's own requests, on one batch of a configuration or of a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fedstrata.assembly.client_plans import train_plan
from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.assembly.provenance import short
from fedstrata.client.evaluate import evaluate
from fedstrata.client.probe import probe
from fedstrata.client.resident import ResidentModel
from fedstrata.client.speed import Case, Work
from fedstrata.client.train import batches, train
from fedstrata.config.load import Loaded
from fedstrata.costs import compute
from fedstrata.costs.protocol import Workload
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.profile import StepProfile
from fedstrata.domain.stats import Statistic
from fedstrata.models.objective import Classification, Objective
from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan

REFERENCE = "a ViT-B/32 of 4 blocks"
_ROWS = 8
_CLASSES = 10


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What is timed.

    Attributes:
        name: Of the model, for people.
        model: The resident model.
        rows: Rows, of which ``batch`` is timed.
        batch: Indices of one batch.
        plan: How to train, one step on that batch.
        profile: What that step asks.
    """

    name: str
    model: ResidentModel
    rows: TensorRows
    batch: Tensor
    plan: TrainPlan
    profile: StepProfile

    @property
    def shape(self) -> str:
        """The batch's shape."""
        inputs, _ = self.rows.take(self.batch)
        return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())


def bench_of(loaded: Loaded | None, device: torch.device) -> Bench:
    """Return what to time: the first batch of the client with most rows, or random images on the reference model.

    Raises:
        ConfigError: Model and data of the configuration do not fit.
        DataError: The data cannot be used.
    """
    if loaded is None:
        pixels, labels = torch.rand(_ROWS, 3, 224, 224), torch.arange(_ROWS) % _CLASSES
        rows, plan = TensorRows({"pixel_values": pixels}, labels), TrainPlan(batch_size=_ROWS)
        model = _reference()
        return bench(REFERENCE, model, partition(model), rows=rows, batch=torch.arange(_ROWS), plan=plan, device=device)
    data, plan = load_rows(loaded), train_plan(loaded)
    network = load_network(loaded, data)
    of_test = ClientRows(data.test, torch.arange(len(data.test)), torch.arange(0))  # where all rows lie at sites
    largest = max(data.clients.values(), key=lambda client: len(client.train), default=of_test)
    batch = next(iter(batches(largest.train, plan, np.random.default_rng(loaded.config.seed))))
    return bench(
        short(loaded.config.model.path),
        network.model,
        network.layers,
        rows=largest.rows,
        batch=batch,
        plan=plan,
        device=device,
        objective=network.objective,
        checkpointing=network.form.checkpointing,
    )


def bench(
    name: str,
    model: nn.Module,
    layers: LayerMap,
    *,
    rows: TensorRows,
    batch: Tensor,
    plan: TrainPlan,
    device: torch.device,
    objective: Objective = Classification(),  # noqa: B008  a value
    checkpointing: bool = False,
) -> Bench:
    """Return one batch to time on a model."""
    inputs, _ = rows.take(batch)
    profile = measure_step(model, layers, inputs, objective, checkpointing=checkpointing)
    model.to(device)
    plan = replace(plan, steps=1, epochs=None, batch_size=len(batch))
    resident = ResidentModel(model, layers, objective, checkpointing=checkpointing)
    return Bench(name, resident, rows, batch, plan, profile)


def cases(bench: Bench) -> list[Case]:
    """Return requests that together tell every rate: passes of every depth, updates alone, one step and two."""
    layers = bench.model.layers
    empty: Mask = frozenset()
    masks = {"no layer": empty, "every layer": layers.everything}
    masks |= {f"layer {index}": frozenset({index}) for index in sorted({0, len(layers) // 2, len(layers) - 1})}
    found = [
        Case("forward pass", Work(forward=_forward(bench), visits=1), partial(_evaluate, bench)),
        Case("update alone", Work(update=_touched(bench, layers.everything, 1)), _updater(bench)),
        Case("probe", _probe_work(bench), partial(_probe, bench)),
    ]
    found += [training_case(bench, f"train {name}", mask) for name, mask in masks.items()]
    return [*found, training_case(bench, "train no layer, two steps", empty, steps=2)]


def training_case(bench: Bench, name: str, mask: Mask, *, steps: int = 1) -> Case:
    """Return a request to train a mask."""
    passes = compute.training([bench.profile], Workload((_shape(bench),) * steps))
    work = Work(
        forward=passes.forward,
        carry=float(passes.carry[min(mask, default=-1)]),
        weight=passes.shared + float(passes.each[sorted(mask)].sum()),
        update=_touched(bench, mask, steps) + compute.VISIT_TOUCHES * bench.model.layers.bytes_of(mask),
        steps=steps,
        visits=1,
    )
    return Case(name, work, partial(_train, bench, mask, replace(bench.plan, steps=steps)))


def _shape(bench: Bench) -> tuple[int, int | None]:
    return bench.profile.rows, bench.profile.length


def _forward(bench: Bench) -> float:
    return float(bench.profile.forward.sum())


def _touched(bench: Bench, mask: Mask, steps: int) -> float:
    """Return the bytes that updates read and write."""
    return float(steps * compute.UPDATE_TOUCHES[bench.plan.optimizer] * bench.model.layers.bytes_of(mask))


def _probe_work(bench: Bench) -> Work:
    passes = compute.probing([bench.profile], Workload((_shape(bench),), (_shape(bench),)))
    return Work(passes.forward, float(passes.carry[0]), passes.shared, steps=1, visits=1)


def _evaluate(bench: Bench) -> None:
    model = bench.model
    evaluate(model, model.weights(), rows=bench.rows, indices=bench.batch, batch_size=len(bench.batch))


def _probe(bench: Bench) -> None:
    probe(
        bench.model,
        bench.model.weights(),
        rows=bench.rows,
        indices=bench.batch,
        batch_size=len(bench.batch),
        statistics=frozenset({Statistic.NORM}),
    )


def _train(bench: Bench, mask: Mask, plan: TrainPlan) -> None:
    model, rng = bench.model, np.random.default_rng(0)
    train(model, model.weights(), mask=mask, rows=bench.rows, indices=bench.batch, plan=plan, rng=rng)


def _updater(bench: Bench) -> Callable[[], None]:
    """Return a function that updates copies of all trained tensors, once."""
    copies = {name: nn.Parameter(tensor.detach().clone()) for name, tensor in bench.model.weights().items()}
    for copy in copies.values():
        copy.grad = torch.full_like(copy, 1e-6)
    optimizer = Sgd().optimizer(copies, bench.plan, ())

    def update() -> None:
        optimizer.step()
        if bench.model.device.type == "cuda":
            torch.cuda.synchronize(bench.model.device)

    return update


def _reference() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(patch_size=32, num_hidden_layers=4, num_labels=_CLASSES)
    model: nn.Module = ViTForImageClassification(config)
    return model
