"""What is left of a run when its clients are unreliable: the demo's model and data, played calmly and under faults.

Nothing is slept through: faults happen on a virtual clock, the same ones each time. Run it from an empty folder:

    python unreliable_clients.py

It prints the accuracy of both runs, what did not count and why, and writes a report of both to ``runs/report.html``.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config
from fedstrata.report.write_report import write_report
from fedstrata.server.observers import Quiet
from fedstrata.server.run import RunResult
from fedstrata.testing.faults import Faults
from fedstrata.testing.faulty import FaultyEngine

STORM = Faults(
    lose_request=0.05, crash=0.05, lose_reply=0.1, reorder=0.5, duplicate=0.2, conflict=0.1, stale=0.2,
    nonfinite=0.05, truncate=0.05, flip=0.05, delay=2.0,
)  # fmt: skip
"""Probabilities per message, and the mean of the delays in seconds."""


def settings(folder: Path) -> dict[str, object]:
    """Return a run in which half of a cohort is enough, and a phase takes ten seconds at most."""
    return {
        "model": {"path": "embedded:vit-digits"},
        "data": {"kind": "digits", "shift": "input", "partition": {"kind": "dirichlet", "clients": 10, "alpha": 0.3}},
        "selector": "consensus",
        "budget": 1,
        "train": {"rounds": 5, "steps": 5, "optimizer": "sgd", "lr": 0.1},
        "round": {"quorum": 0.5, "deadline": 10, "retries": 2, "on_abandon": "skip"},
        "upload": {"encoding": "bf16"},
        "output": str(folder),
    }


def play(folder: Path, faults: Faults) -> RunResult:
    """Play a run under faults, on the virtual clock of the engine that makes them."""
    prepared = prepare_run(check_config(settings(folder)))
    run = prepared.run(observer=Quiet(), stop=lambda: False)
    engine = FaultyEngine(run.engine, faults, prepared.setting.layers, seed=1, frames=True)
    result = replace(run, engine=engine).start(prepared.weights)
    finish(prepared, result)
    return result


def main() -> None:
    """Play both runs, and say what came of them."""
    logging.getLogger("fedstrata").setLevel(logging.ERROR)  # clients that miss an evaluation are in the report
    folder = Path("runs")
    calm, storm = play(folder / "calm", Faults()), play(folder / "storm", STORM)
    for name, result in (("calm", calm), ("storm", storm)):
        said = result.summary
        print(f"{name}: accuracy {said['final']['accuracy']:.3f}, {said['abandoned']} attempts abandoned")
    print("did not count: " + ", ".join(f"{reason} {count}" for reason, count in storm.summary["losses"].items()))
    print(f"report: {write_report([calm.folder, storm.folder], folder)}")


if __name__ == "__main__":
    main()
