"""Runs that take a second or less, and what two equal ones have in common: for tests of run, resume and files."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import yaml

from fedstrata.aggregators.protocol import Aggregator
from fedstrata.assembly.finish import finish
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run, reopen_run
from fedstrata.client.evaluate import evaluate
from fedstrata.client.exact import ExactGradients
from fedstrata.config.load import check_config
from fedstrata.domain.records import Metrics
from fedstrata.engines.protocol import Engine
from fedstrata.runs.folder import RunFolder
from fedstrata.selectors.ends import Top
from fedstrata.selectors.protocol import Selector
from fedstrata.server.observers import Quiet
from fedstrata.server.rules import Rules
from fedstrata.server.run import Run, RunResult
from fedstrata.server.setup import Schedule
from fedstrata.wire.messages import TrainPlan, Weights
from toy_runs import toy_engine, toy_setting
from toys import toy_clients, toy_model, toy_rows

CLOCKS = {"seconds", "seconds_probe", "seconds_train", "peak_bytes", "over_memory", "started"} | {
    "prefix_read",
    "prefix_computed",
    "prefix_bytes",
}
"""Facts that differ between two equal runs."""

SIZES = {"a": 12, "b": 6, "c": 9, "d": 7}


def never() -> bool:
    """Let a run go on to its end."""
    return False


def after(rounds: int) -> Callable[[], bool]:
    """Return a stop flag that is up from the given round of a session on: it is asked once a round."""
    asked = count(1)
    return lambda: next(asked) >= rounds


def toy_run(
    path: Path,
    *,
    selector: Selector | None = None,
    aggregator: Aggregator | None = None,
    rounds: int = 3,
    evaluate_every: int = 1,
    checkpoint_every: int = 1,
    stop: Callable[[], bool] = never,
    engine: Engine | None = None,
    test: Callable[[Weights], Metrics] | None = None,
    held_out: int = 3,
    seed: int = 0,
    dropout: float = 0.0,
    per_round: int | None = None,
    budget: float = 1,
    lr: float = 0.1,
    rules: Rules | None = None,
    piggyback: bool = False,
    exact: bool = False,
    sketch: int = 0,
) -> tuple[Run, Weights]:
    """Return a run of the toy model and its starting point."""
    model, clients = toy_model(dropout=dropout), toy_clients(SIZES, held_out=held_out)
    setting = toy_setting(
        model,
        clients,
        selector=selector or Top(),
        aggregator=aggregator,
        budget=budget,
        seed=seed,
        per_round=per_round,
        train=TrainPlan(steps=2, epochs=None, batch_size=4, lr=lr),
        rules=rules,
        piggyback=piggyback,
        sketch=sketch,
    )
    rows = toy_rows(40, seed=9)

    def central(weights: Weights) -> Metrics:
        loss, correct = evaluate(model, weights, rows=rows, indices=torch.arange(40), batch_size=40)
        return Metrics(correct / 40, loss / 40, 40)

    path.mkdir(parents=True, exist_ok=True)
    (path / "checkpoints").mkdir(exist_ok=True)
    run = Run(
        setting=setting,
        schedule=Schedule(rounds, evaluate_every, checkpoint_every),
        engine=engine or toy_engine(model, clients, seed=seed),
        test=test or central,
        folder=RunFolder(path),
        header={"method": "toy", "seed": seed, "model": "toy", "data": "toy", "layers": list(model.layers.names)},
        stop=stop,
        frozen=model.frozen_drift,
        instrument=ExactGradients(model, clients, batch_size=5) if exact else None,
    )
    return run, model.weights()


def digits(output: Path, **sections: object) -> dict[str, Any]:
    """Return a configuration of two rounds of three clients on the embedded digits."""
    return {
        "model": {"path": "embedded:vit-digits"},
        "data": {
            "kind": "digits",
            "shift": "input",
            "held_out": 0.1,
            "partition": {"kind": "iid", "clients": 3},
        },
        "selector": {"kind": "consensus"},
        "budget": {"kind": "fixed", "layers": 1},
        "probe": {"batch_size": 8},
        "train": {"rounds": 2, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"},
        "output": str(output),
        **sections,
    }


def write_config(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a configuration as YAML."""
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    return path


def start(values: Mapping[str, Any], *, stop: Callable[[], bool] = never, base: Path = Path()) -> RunResult:
    """Play a configuration from its start."""
    prepared = prepare_run(check_config(values, base=base))
    return _end(prepared, prepared.run(observer=Quiet(), stop=stop).start(prepared.weights))


def resume(folder: Path, *, stop: Callable[[], bool] = never, overrides: Sequence[str] = ()) -> RunResult:
    """Go on with a run."""
    prepared = reopen_run(folder, overrides)
    return _end(prepared, prepared.run(observer=Quiet(), stop=stop).resume(prepared.weights))


def _end(prepared: PreparedRun, result: RunResult) -> RunResult:
    finish(prepared, result)
    return result


def events(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return a run's events, of one kind or all."""
    return [e for e in RunFolder(folder).read() if kind in (None, e["event"])]


def essence(folder: Path) -> dict[str, Any]:
    """Return everything that two equal runs have in common, to the bit."""
    with (folder / "metrics.csv").open() as file:
        metrics = [{k: v for k, v in row.items() if k not in CLOCKS} for row in csv.DictReader(file)]
    summary = json.loads((folder / "summary.json").read_text())
    model = folder / "model" / "model.safetensors"
    return {
        "model": hashlib.sha256(model.read_bytes()).hexdigest() if model.exists() else None,
        "selection": pq.read_table(folder / "selection.parquet").to_pylist(),
        "metrics": metrics,
        "summary": {k: v for k, v in summary.items() if k not in CLOCKS},
        "events": [_timeless(e) for e in events(folder) if e["event"] in ("baseline", "client", "round")],
    }


def _timeless(event: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k not in CLOCKS}
