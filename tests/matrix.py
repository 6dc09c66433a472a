"""Whole runs of a 12-layer network under a plan of faults, and what is measured of them: for the fault matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.client.evaluate import evaluate
from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.costs.layer_count import counted
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import ClientProfile
from fedstrata.engines.local import LocalEngine
from fedstrata.runs.folder import RunFolder
from fedstrata.samplers.uniform import Uniform
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.observers import Quiet
from fedstrata.server.rules import Rules
from fedstrata.server.run import Run, RunResult
from fedstrata.server.setting import Method, Setting
from fedstrata.server.setup import Schedule
from fedstrata.testing.faults import EVERY_PHASE, Exactly, Plan
from fedstrata.testing.faulty import FaultyEngine
from fedstrata.wire.messages import PhaseName, ProbePlan, TrainPlan, Update, Weights

LAYERS, WIDTH, CLIENTS = 12, 16, 10
DEADLINE = 10.0
"""Virtual seconds per phase; an answer takes one where nothing goes wrong."""


class TwelveLayers(nn.Module):
    """A frozen stem, twelve residual blocks and a head, for the 8x8 digits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Linear(64, WIDTH)
            self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
            self.head = nn.Linear(WIDTH, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = torch.tanh(self.stem(pixels))
        for block in self.blocks:
            hidden = hidden + 0.3 * torch.tanh(block(hidden))
        logits: Tensor = self.head(hidden)
        return logits


def partitioned(net: nn.Module) -> LayerMap:
    """Return the network's blocks."""

    def block(name: str, role: Role) -> Layer:
        named = net.get_submodule(name).named_parameters()
        return Layer(
            LayerName(name), role, tuple(TensorSpec(TensorName(f"{name}.{n}"), tuple(p.shape)) for n, p in named)
        )

    blocks = tuple(block(f"blocks.{i}", Role.LAYER) for i in range(LAYERS))
    return LayerMap(blocks, (block("head", Role.ALWAYS),), (block("stem", Role.NEVER),))


@cache
def digits_rows() -> TensorRows:
    """Return all digits as rows of 64 numbers in [0, 1]."""
    data = load_digits()
    pixels = torch.from_numpy(data.data / 16.0).float()
    return TensorRows({"pixels": pixels}, torch.from_numpy(data.target).long())


def shared_out(seed: int) -> tuple[dict[ClientId, ClientRows], Tensor]:
    """Return unequal shares of the rows for ten clients, each with some held out, and the test rows."""
    rows = digits_rows()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    test, rest = torch.from_numpy(order[:400]), order[400:]
    cuts = np.sort(rng.choice(np.arange(40, len(rest) - 40, 40), CLIENTS - 1, replace=False))
    clients = {}
    for i, part in enumerate(np.split(rest, cuts)):
        own = torch.from_numpy(part)
        clients[ClientId(f"c{i}")] = ClientRows(rows, own[4:], own[:4])
    return clients, test


@dataclass(slots=True)
class Watched:
    """Averages as ``LayerwiseMean`` does, and checks each round on its own, in float64.

    Attributes:
        largest: Largest difference to the independent average.
        rounds: Rounds that were checked.
    """

    largest: float = 0.0
    rounds: int = 0
    inner: LayerwiseMean = field(default_factory=LayerwiseMean)

    def init(self, weights: Weights, layers: LayerMap) -> AggregatorState:
        return self.inner.init(weights, layers)

    def apply(
        self, weights: Weights, updates: Iterable[Update], state: AggregatorState
    ) -> tuple[Weights, AggregatorState]:
        taken = list(updates)
        now, state = self.inner.apply(weights, taken, state)
        for name, before in weights.items():
            rows = {u.client: u.num_examples for u in taken if name in u.deltas}
            if not rows:
                assert now[name] is before
                continue
            shares = {c: Fraction(n, sum(rows.values())) for c, n in rows.items()}
            assert sum(shares.values()) == 1
            assert abs(sum(map(float, shares.values())) - 1) < 1e-12
            mean = sum(float(shares[u.client]) * u.deltas[name].double() for u in taken if name in u.deltas)
            off = float((now[name].double() - before.double() - mean).abs().max())
            self.largest = max(self.largest, off)
        self.rounds += 1
        return now, state


class Clocked:
    """Notes the virtual time at the end of every round."""

    def __init__(self, engine: FaultyEngine) -> None:
        self.engine = engine
        self.ends: list[float] = []
        self.records: list[RoundRecord] = []

    def note(self, record: RoundRecord) -> None:
        self.ends.append(self.engine.clock.now())
        self.records.append(record)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run under faults left."""

    result: RunResult
    hash: str
    gain: float
    watched: Watched
    clocked: Clocked
    counts: Mapping[str, int]
    losses: Mapping[str, int]


def prepare(
    path: Path,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    rounds: int = 20,
    steps: int = 5,
    rules: Rules | None = None,
    frames: bool = False,
    rho: float = 1.0,
    latency: float = 1.0,
) -> tuple[Run, Weights, FaultyEngine, Watched, Clocked]:
    """Return a run under faults that has not begun."""
    model = ResidentModel(TwelveLayers(seed), partitioned(TwelveLayers(seed)))
    clients, test = shared_out(seed)
    watched = Watched()
    deadlines: dict[PhaseName, float] = dict.fromkeys(EVERY_PHASE, DEADLINE)
    setting = Setting(
        name="matrix",
        layers=model.layers,
        method=Method(GradientNorm(), counted(LAYERS), Consensus(rho=rho), watched),
        profiles={c: ClientProfile(len(d.train), Cost.limits(layers=2)) for c, d in clients.items()},
        sampler=Uniform(None),
        seeds=Seeds(seed),
        probe=ProbePlan(batches=1, batch_size=32),
        train=TrainPlan(steps=steps, epochs=None, batch_size=16, lr=0.5),
        rules=rules or Rules(deadline=deadlines),
    )
    inner = LocalEngine(Handler(model, clients, Seeds(seed)))
    engine = FaultyEngine(inner, plan or Exactly(), model.layers, seed=seed, frames=frames, latency=latency)
    clocked = Clocked(engine)

    def central(weights: Weights) -> Metrics:
        loss, correct = evaluate(model, weights, rows=digits_rows(), indices=test, batch_size=400)
        return Metrics(correct / 400, loss / 400, 400)

    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    header = {"method": "matrix", "seed": seed, "model": "12", "data": "digits", "layers": list(model.layers.names)}
    run = Run(
        setting=setting,
        schedule=Schedule(rounds, evaluate_every=rounds if rounds > 5 else 1),
        engine=engine,
        test=central,
        folder=RunFolder(path),
        header=header,
        observer=Quiet(round_done=clocked.note),
    )
    return run, model.weights(), engine, watched, clocked


def play(path: Path, plan: Plan | None = None, **options: object) -> Outcome:
    """Play a run under faults to its end."""
    run, weights, engine, watched, clocked = prepare(path, plan, **options)  # type: ignore[arg-type]
    result = run.start(weights)
    start, end = result.summary["baseline"], result.summary["final"]
    losses = result.summary["losses"]
    return Outcome(
        result, hash_of(result.weights), end["accuracy"] - start["accuracy"], watched, clocked, engine.counts, losses
    )


def hash_of(weights: Weights) -> str:
    """Return the hash of all tensors' bits."""
    total = sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].numpy().tobytes())
    return total.hexdigest()
