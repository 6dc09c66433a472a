"""A round against a bare PyTorch loop: processor time, and the most memory that it holds.

The bare loop is what a good engineer writes without any framework: one model, of which the trained tensors alone are
copied, trained and added up, client after client. Both draw the same rows and take the same steps, on one thread, in
turn in one process; the times are compared pair by pair.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from memory import settle, status
from rows import Row, in_turn, of_pairs
from samples import samples
from settings import prepared, vit
from torch import Tensor, nn
from transformers import ViTForImageClassification

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.client.handler import Handler
from fedstrata.client.train import batches
from fedstrata.domain.layers import Mask
from fedstrata.domain.seeds import Phase
from fedstrata.engines.local import LocalEngine
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state


@dataclass(frozen=True, slots=True)
class Case:
    """One setting: millions of parameters, the ViT's width, pixels of a patch, local steps, rows of a batch, pairs."""

    size: int
    width: int
    patch: int
    steps: int
    batch: int
    pairs: int


SHORT = (Case(1, 96, 16, 1, 2, 9), Case(1, 96, 8, 5, 16, 5), Case(86, 768, 16, 1, 2, 5), Case(86, 768, 16, 5, 16, 3))
MORE = (Case(10, 256, 16, 1, 2, 9), Case(10, 256, 8, 5, 16, 3))
MASK: Mask = frozenset({5, 10})


def ours(run: PreparedRun) -> Callable[[], object]:
    state = initial_state(run.setting, run.weights)
    engine = LocalEngine(Handler(run.resident, run.data.clients, run.setting.seeds))
    return lambda: play_round(state, run.setting, engine, Quiet())


def bare(run: PreparedRun, model: nn.Module) -> Callable[[], dict[str, Tensor]]:
    """Return a round that trains each client from the same weights and averages, by nothing but PyTorch."""
    model.train()
    names = [t.name for t in run.setting.layers.tensors_of(MASK)]
    own = dict(model.named_parameters())
    for name, parameter in own.items():
        parameter.requires_grad_(name in names)
    trained = [own[name] for name in names]
    start = [p.detach().clone() for p in trained]
    plan, clients = run.setting.train_plan(0), {c: run.data.clients[c] for c in run.setting.cohort(0, 0)}

    def play() -> dict[str, Tensor]:
        total = sum(len(data.train) for data in clients.values())
        sums = [torch.zeros_like(s) for s in start]
        for client, data in clients.items():
            with torch.no_grad():
                for parameter, before in zip(trained, start, strict=True):
                    parameter.copy_(before)
            optimizer = torch.optim.SGD(trained, lr=plan.lr)
            rng = run.setting.seeds.generator(Phase.TRAIN, client=client)
            rng.integers(2**63)
            for batch in batches(data.train, plan, rng):
                inputs, labels = data.rows.take(batch)
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(**inputs).logits, labels).backward()
                optimizer.step()
            with torch.no_grad():
                for held, parameter in zip(sums, trained, strict=True):
                    held.add_(parameter, alpha=len(data.train) / total)
        return dict(zip(names, sums, strict=True))

    return play


def peak(case: Case, *, bare_loop: bool) -> int:
    """Return the bytes by which two rounds in a fresh process grow beyond what imports and rows take."""
    words = [sys.executable, __file__, "--peak", "bare" if bare_loop else "ours", *map(str, astuple(case))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout)


def peak_here(case: Case, *, bare_loop: bool) -> int:
    """Return the growth in this process; the bare loop loads the model by itself, and takes only rows from a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = vit(folder, width=case.width, patch=case.patch)
        rows = prepared(folder, width=96, patch=case.patch, steps=case.steps, batch=case.batch)
        before = settle()
        if bare_loop:
            play = bare(rows, ViTForImageClassification.from_pretrained(path))
        else:
            play = ours(prepared(folder, width=case.width, patch=case.patch, steps=case.steps, batch=case.batch))
        settle()  # what loading took for a moment is no round's
        play(), play()
        return status("VmHWM") - before


def shares(play: Callable[[], object], setting: str) -> Iterator[Row]:
    """Yield the ten functions that most of a round's time falls on."""
    found = samples(play, seconds=3.0)
    total = sum(found.values())
    for place, count in found.most_common(10):
        yield Row(f"{setting}: {place}", count / total, 1.0, count / total, unit="share")


def compare(*, short: bool) -> Iterator[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for case in SHORT if short else SHORT + MORE:
            run = prepared(Path(folder), width=case.width, patch=case.patch, steps=case.steps, batch=case.batch)
            times = in_turn(ours(run), bare(run, copy.deepcopy(run.network.model)), case.pairs)
            name = f"round, {case.size} M parameters, {case.steps} x {case.batch} rows: to the bare loop"
            yield of_pairs(name, times, goal=1.1 if case.steps == 1 else 1.03)
            if case.steps == 1 and case.size != 10:
                yield from shares(ours(run), f"{case.size} M, {case.steps} x {case.batch}")
    for case in (SHORT[0], SHORT[2], SHORT[3]):
        one, other = peak(case, bare_loop=False), peak(case, bare_loop=True)
        name = f"peak memory of a round, {case.size} M parameters, {case.steps} x {case.batch} rows: to the bare loop"
        yield Row(name, one / 1e6, other / 1e6, one / other, goal=1.15, unit="MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        torch.set_num_threads(1)
        print(peak_here(Case(*map(int, sys.argv[3:])), bare_loop=sys.argv[2] == "bare"))
    else:
        for row in compare(short="--short" in sys.argv):
            print(row, flush=True)
