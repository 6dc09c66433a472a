"""Predicted against measured: step times relative to full fine-tuning, and peak memory, for shapes of real models.

Step times: requests are timed in turn on one thread, in seconds of processor time; rates are fitted on passes of three
depths, so that the layers between them are predictions. Peak memory: growth of the resident set, every case in a
process of its own, once as glibc's heap leaves it and once with every large tensor in a mapping of its own, which
shows what was held without the heap's gaps. Weights are random. Quote the ratios, not the seconds.

    python benchmarks/bench_predicted.py [steps|memory]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from time import process_time

import numpy as np
import torch
from torch import nn

from fedstrata.cli.bench_cases import Bench, bench, cases, training_case
from fedstrata.client.meter import Meter
from fedstrata.client.resident import bytes_of
from fedstrata.client.speed import Work, fit, time_cases
from fedstrata.client.train import train
from fedstrata.costs.measured import Measured
from fedstrata.costs.protocol import Facts, Workload
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.models.partition import partition
from fedstrata.wire.messages import ProbePlan, TrainPlan

LOWEST = (0, 3, 6, 9, 11)
MASKS: dict[str, Mask] = {
    "{0}": frozenset({0}),
    "{6}": frozenset({6}),
    "{11}": frozenset({11}),
    "full": frozenset(range(12)),
    "empty": frozenset(),
}


def vit(rows: int, plan: TrainPlan) -> Bench:
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(ViTConfig(patch_size=32, num_labels=10))
    return _bench("ViT-B/32", model, {"pixel_values": torch.rand(rows, 3, 224, 224)}, plan)


def bert(rows: int, plan: TrainPlan) -> Bench:
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(num_labels=10))
    ids = torch.randint(5, 30000, (rows, 128))
    return _bench("BERT base, 128 tokens", model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, plan)


def _bench(name: str, model: nn.Module, inputs: dict[str, torch.Tensor], plan: TrainPlan) -> Bench:
    rows = TensorRows(inputs, torch.arange(len(next(iter(inputs.values())))) % 10)
    batch = torch.arange(len(rows))
    return bench(name, model, partition(model), rows=rows, batch=batch, plan=plan, device=torch.device("cpu"))


def steps(made: Bench) -> None:
    """Print step times relative to full: measured, from operations alone, from the fitted rates."""
    fitted = cases(made)
    extra = [training_case(made, f"train layer {i}", frozenset({i})) for i in LOWEST]
    known = {case.name for case in fitted}
    asked = [*fitted, *(case for case in extra if case.name not in known)]
    times = time_cases(asked, seconds=0, watch=_silent, clock=process_time)
    rates = fit([case.work for case in fitted], times[: len(fitted)])
    measured = {case.name: time for case, time in zip(asked, times, strict=True)}
    work = {case.name: case.work for case in asked}
    full = "train every layer"
    print(f"{made.name}, {made.shape}, {made.plan.optimizer}, one thread")
    print(f"  rates {rates}")
    print(f"{'trained':>10} {'measured':>9} {'by FLOPs':>9} {'by rates':>9} {'rates/measured':>15}")
    for label, name in [(str(i), f"train layer {i}") for i in LOWEST] + [("head", "train no layer")]:
        ratio = measured[name] / measured[full]
        flops = _flops(work[name]) / _flops(work[full])
        rate = rates.seconds(work[name]) / rates.seconds(work[full])
        print(f"{label:>10} {ratio:9.3f} {flops:9.3f} {rate:9.3f} {rate / ratio:15.3f}", flush=True)


def _flops(work: Work) -> float:
    return work.forward + work.carry + work.weight


def _silent(name: str, *, done: int, total: int) -> None:
    print(f"  {done}/{total} {name}", end="\r", file=sys.stderr)


def memory() -> None:
    """Print predicted and measured peak memory of one visit."""
    print(
        f"\n{'model':>6} {'batch':>5} {'optimizer':>9} {'mask':>6} {'predicted MB':>12} {'heap MB':>8} {'mapped MB':>9}"
    )
    for model, rows, optimizer, mask in product(("vit", "bert"), (2, 16), ("sgd", "adamw"), MASKS):
        command = [sys.executable, __file__, "visit", model, str(rows), optimizer, mask]
        predicted, heap = _told(command, {})
        _, mapped = _told(command, {"MALLOC_MMAP_THRESHOLD_": str(2**17)})
        print(
            f"{model:>6} {rows:5} {optimizer:>9} {mask:>6} {predicted / 1e6:12.1f} {heap / 1e6:8.1f}"
            f" {mapped / 1e6:9.1f}   predicted/measured {predicted / heap:.3f} {predicted / mapped:.3f}",
            flush=True,
        )


def _told(command: list[str], more: dict[str, str]) -> tuple[float, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **more})
    predicted, measured = json.loads(done.stdout)
    return predicted, measured


def visit(model: str, rows: str, optimizer: str, mask: str) -> None:
    """Print predicted and measured bytes of one visit, after a small one that loads the kernels."""
    plan = TrainPlan(steps=1, epochs=None, batch_size=int(rows), lr=1e-3, optimizer=optimizer)  # type: ignore[arg-type]
    made = {"vit": vit, "bert": bert}[model](int(rows), plan)
    meter = Meter()
    for trained, batch in ((frozenset[int](), made.batch[:1]), (MASKS[mask], made.batch)):
        held = lambda: made.model.bytes  # noqa: E731
        with meter.of("train", trained, device=made.model.device, held=held) as peak:
            train(
                made.model,
                made.model.weights(),
                mask=trained,
                rows=made.rows,
                indices=batch,
                plan=made.plan,
                rng=np.random.default_rng(0),
            )
    print(json.dumps([_predicted(made, MASKS[mask]), peak.bytes]))


def _predicted(made: Bench, mask: Mask) -> float:
    batch, client = (made.profile.rows, made.profile.length), ClientId("c")
    facts = Facts(
        layers=made.model.layers,
        train=made.plan,
        probe=ProbePlan(),
        workloads={client: Workload((batch,), longest=batch[1])},
        profiles=lambda: (made.profile,),
        parameter_bytes=bytes_of(made.model.module),
    )
    return Measured().bind(facts).prices(client, ClientRound()).of(mask).bytes_peak


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    if arguments and arguments[0] == "visit":
        visit(*arguments[1:])
        return
    plan = TrainPlan(lr=1e-3)
    if not arguments or arguments[0] == "steps":
        steps(vit(16, plan))
        steps(bert(4, plan))
    if not arguments or arguments[0] == "memory":
        memory()


if __name__ == "__main__":
    main(sys.argv[1:])
