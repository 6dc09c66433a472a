"""Seconds per round against a bare PyTorch loop that does the same local steps and averages without any framework.

The two are played in turn in one process, on one thread, and compared pair by pair; quote the ratios, not the seconds.
The bare loop copies the model per client, trains it, and averages: what people write by hand.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run
from fedstrata.client.handler import Handler
from fedstrata.client.train import batches
from fedstrata.config.load import check_config
from fedstrata.domain.layers import Mask
from fedstrata.domain.seeds import Phase
from fedstrata.engines.local import LocalEngine
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state

PAIRS = 7


def prepared(folder: Path, *, steps: int, batch: int) -> PreparedRun:
    config = {
        "model": {"path": "embedded:vit-digits"},
        "data": {"kind": "digits", "shift": "input", "partition": {"kind": "dirichlet", "clients": 10, "alpha": 0.3}},
        "selector": {"kind": "fixed", "layers": "last:2"},
        "budget": {"kind": "fixed", "layers": 2},
        "train": {"steps": steps, "batch_size": batch, "optimizer": "sgd", "lr": 0.1},
        "output": str(folder / f"run-{steps}-{batch}"),
    }
    return prepare_run(check_config(config))


def bare_round(run: PreparedRun, module: nn.Module, mask: Mask) -> dict[str, Tensor]:
    """Train every client from the same weights on a copy of the model, and average what was trained."""
    names = [t.name for t in run.setting.layers.tensors_of(mask)]
    plan, rows = run.setting.train_plan(0), 0
    sums: dict[str, Tensor] = {}
    for client, data in run.data.clients.items():
        local = copy.deepcopy(module).train()
        parameters = dict(local.named_parameters())
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in names)
        optimizer = torch.optim.SGD([parameters[n] for n in names], lr=plan.lr)
        rng = run.setting.seeds.generator(Phase.TRAIN, client=client)
        rng.integers(2**63)
        for batch in batches(data.train, plan, rng):
            inputs, labels = data.rows.take(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(local(**inputs).logits, labels).backward()
            optimizer.step()
        rows += len(data.train)
        for name in names:
            value = parameters[name].detach() * len(data.train)
            sums[name] = sums[name] + value if name in sums else value
    return {name: total / rows for name, total in sums.items()}


def pairs(ours: Callable[[], object], bare: Callable[[], object]) -> Iterator[tuple[float, float]]:
    ours(), bare()
    for _ in range(PAIRS):
        start = perf_counter()
        ours()
        middle = perf_counter()
        bare()
        yield middle - start, perf_counter() - middle


def main() -> None:
    torch.set_num_threads(1)
    print("10 clients, ViT of 6 blocks (0.2 M parameters), last two blocks trained; ours / bare loop")
    print(f"{'steps x batch':>14} {'ours s':>8} {'bare s':>8} {'ratio':>6}   (medians of {PAIRS} pairs)")
    with tempfile.TemporaryDirectory() as folder:
        for steps, batch in ((5, 16), (5, 32), (1, 2)):
            run = prepared(Path(folder), steps=steps, batch=batch)
            state = initial_state(run.setting, run.weights)
            engine = LocalEngine(Handler(run.resident, run.data.clients, run.setting.seeds))
            module = copy.deepcopy(run.network.model)
            last_two = frozenset({len(run.setting.layers) - 2, len(run.setting.layers) - 1})
            ours = lambda: play_round(state, run.setting, engine, Quiet())  # noqa: B023, E731
            bare = lambda: bare_round(run, module, last_two)  # noqa: B023, E731
            times = list(pairs(ours, bare))
            ratio = median(a / b for a, b in times)
            a, b = (median(column) for column in zip(*times, strict=True))
            print(f"{f'{steps} x {batch}':>14} {a:8.3f} {b:8.3f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
