"""Seconds per round with clients in one process, in one worker, and in two: what worker processes cost and gain.

The engines play the same round in turn, with one thread each, and are compared turn by turn; quote the ratios. With two
workers the round's own work (checking and adding up updates) is left as it is, so the gain is below two. Run it on a
machine with two free cores.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run
from fedstrata.assembly.runtime import handler_of
from fedstrata.assembly.worker import recipe
from fedstrata.config.load import check_config
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.processes import ProcessEngine
from fedstrata.engines.protocol import Engine
from fedstrata.runs.state import ServerState
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state

TURNS = 5
CASES = ((60, 32), (20, 32), (2, 8))


def prepared(folder: Path, *, steps: int, batch: int) -> PreparedRun:
    config = {
        "model": {"path": "embedded:vit-digits"},
        "data": {"kind": "digits", "shift": "input", "partition": {"kind": "iid", "clients": 8}},
        "selector": {"kind": "fixed", "layers": "last:2"},
        "budget": {"kind": "fixed", "layers": 2},
        "train": {"steps": steps, "batch_size": batch, "optimizer": "sgd", "lr": 0.1},
        "output": str(folder / f"run-{steps}-{batch}"),
    }
    return prepare_run(check_config(config))


def engines(run: PreparedRun) -> dict[str, Engine]:
    def workers(count: int) -> Engine:
        return ProcessEngine(run.setting.layers, run.weights, recipe(run.loaded), workers=count)

    local = LocalEngine(handler_of(run.loaded, run.resident, run.data))
    return {"local": local, "1 worker": workers(1), "2 workers": workers(2)}


def turns(run: PreparedRun, state: ServerState) -> list[dict[str, float]]:
    """Return the seconds of each engine's round, turn by turn; the first turn is let go by."""
    found = []
    with ExitStack() as stack:
        playing = {name: stack.enter_context(closing(engine)) for name, engine in engines(run).items()}
        for _ in range(TURNS + 1):
            seconds = {}
            for name, engine in playing.items():
                start = perf_counter()
                play_round(state, run.setting, engine, Quiet())
                seconds[name] = perf_counter() - start
            found.append(seconds)
    return found[1:]


def main() -> None:
    torch.set_num_threads(1)
    print(f"8 clients, ViT of 6 blocks (0.2 M parameters), last two blocks trained; medians of {TURNS} turns")
    print(f"{'steps x batch':>14} {'local s':>8} {'1 s':>8} {'2 s':>8} {'1/local':>8} {'1/2':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for steps, batch in CASES:
            run = prepared(Path(folder), steps=steps, batch=batch)
            times = turns(run, initial_state(run.setting, run.weights))
            local, one, two = (median(t[name] for t in times) for name in ("local", "1 worker", "2 workers"))
            cost = median(t["1 worker"] / t["local"] for t in times)
            gain = median(t["1 worker"] / t["2 workers"] for t in times)
            print(f"{f'{steps} x {batch}':>14} {local:8.3f} {one:8.3f} {two:8.3f} {cost:8.2f} {gain:6.2f}")


if __name__ == "__main__":
    main()
