"""The example's sweep with real workers: killed at its work, and played on to the table that it would have had."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.assembly.shared import Shared
from fedstrata.comparison.results import Outcome, read_outcomes
from fedstrata.locks import Lock
from fedstrata.sweeping.jobs import Sweep, load_sweep
from fedstrata.sweeping.play import play
from fedstrata.sweeping.rows import LatestRows
from fedstrata.sweeping.run import clients_of, play_sweep
from fedstrata.sweeping.schedule import task_of
from fedstrata.sweeping.step_cost_cache import KnownSteps
from fedstrata.sweeping.table import Table
from small_runs import never
from waiting import HANG, until
from warm import popen

EXAMPLE = Path(__file__).parents[2] / "examples" / "sweep.yaml"
ONLY = ["full", "local-only"]


def example(output: Path) -> Sweep:
    return load_sweep(EXAMPLE, output=output, clients=clients_of)


def killed_at_its_work(output: Path) -> None:
    """Start the sweep as a user does, and kill it once one run has finished and another has played a round."""
    command = [sys.executable, "-m", "fedstrata", "sweep", str(EXAMPLE), "--out", str(output), "--workers", "1"]
    options = [word for method in ONLY for word in ("--only", method)]
    table = output / "results.csv"

    def at_work() -> bool:
        begun = {p.parents[1] for p in output.glob("*/*/*/checkpoints/round-*")}
        finished = table.exists() and len(table.read_text().splitlines()) > 1
        return finished and any(not (run / "model").exists() for run in begun)

    environment = {**os.environ, "CI": "1"}
    with popen([*command, *options], stderr=subprocess.DEVNULL, env=environment, warm_workers=True) as process:
        try:
            until(lambda: at_work() or process.poll() is not None, why="a finished run and another at work")
            assert process.poll() is None, "the sweep ended before it could be killed"
        finally:
            process.kill()


def undisturbed(output: Path) -> tuple[Outcome, ...]:
    """Play the same runs one after the other in this process, in another order."""
    sweep = example(output)
    table, shared = Table(sweep), Shared(LatestRows(), KnownSteps())
    for job in reversed(sweep.chosen(ONLY)):
        config = task_of(job, keep_model=True)["config"]
        play(job.folder, config=config, marks={}, keep_model=True, shared=shared, stop=never, tell=lambda rounds: None)
        table.take(job)
    return table.outcomes


def timeless(outcomes: tuple[Outcome, ...]) -> list[Outcome]:
    return [replace(outcome, seconds=0.0) for outcome in outcomes]


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSTRATA_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "out"
    killed_at_its_work(output)
    for run in output.glob("*/*/s*"):  # workers have gone with it
        lock = Lock(run)
        assert lock.take(within=HANG)
        lock.release()
    before = read_outcomes(output / "results.csv")
    result = play_sweep(example(output), workers=1, only=ONLY)  # in a fresh interpreter
    assert result.failures == {}
    assert [(o.method, o.budget, o.seed) for o in result.outcomes] == [
        ("full", "R1", 0),
        ("full", "R1", 1),
        ("local-only", "R1", 0),
    ]
    assert all(outcome in result.outcomes for outcome in before)
    assert read_outcomes(output / "results.csv") == result.outcomes
    assert timeless(result.outcomes) == timeless(undisturbed(tmp_path / "undisturbed"))
