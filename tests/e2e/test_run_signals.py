"""Runs in a process of their own that is killed or interrupted, and resumed to the same bits."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from small_runs import digits, essence, events, resume, start, write_config
from waiting import HANG, until
from warm import popen
from warm_host import Child

ROUNDS = 20
TRAIN = {"rounds": ROUNDS, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
OPTIONS: dict[str, Any] = {"train": TRAIN, "selector": "top", "evaluate": {"every": 10}, "checkpoint": {"every": 3}}

HERE = ("engine=local", "workers=null")
"""What a run of worker processes is resumed with, where it does not matter who works."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an unbroken run has in common with every other."""
    folder = tmp_path_factory.mktemp("signals") / "whole"
    start(digits(folder, **OPTIONS))
    return essence(folder)


def launch(folder: Path, *options: str, **sections: object) -> Child:
    """Start a run, ready at once; ``test_a_run_whose_streams_are_closed...`` has fresh interpreters."""
    config = write_config(folder.with_suffix(".yaml"), digits(folder, **{**OPTIONS, **sections}))
    return popen(
        [sys.executable, "-m", "fedstrata", "run", str(config), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        warm_workers=True,
    )


def wait_for(process: Child, happened: Callable[[], bool]) -> None:
    until(lambda: happened() or process.poll() is not None, why="the moment to break the run")
    assert process.poll() is None, "the run ended before it could be broken"


def rounds_logged(folder: Path) -> int:
    return len(events(folder, "round")) if (folder / "events.jsonl").exists() else 0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was killed in its fourth round or later, with its workers at work."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    process = launch(folder, "--workers", "2")
    wait_for(process, lambda: rounds_logged(folder) >= 4)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=HANG)
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=HANG)[1] == [], "workers outlive their run"
    assert not (folder / "model").exists()
    assert rounds_logged(folder) < ROUNDS
    return folder


def test_killed_with_its_workers_at_work_it_leaves_none_and_resumes_to_the_same_bits(
    killed: Path, tmp_path: Path, whole: dict[str, Any]
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    assert list((folder / "checkpoints").glob("round-*"))
    resume(folder, overrides=HERE)
    assert essence(folder) == whole


def test_killed_before_its_first_checkpoint_it_starts_anew(killed: Path, tmp_path: Path, whole: dict[str, Any]) -> None:
    """Rounds in the log and no checkpoint: what a kill leaves when checkpoints are rarer than it was patient."""
    folder = shutil.copytree(killed, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints").mkdir()
    resume(folder, overrides=HERE)
    assert essence(folder) == whole


@pytest.mark.parametrize(
    ("number", "code", "line", "workers"),
    [
        (signal.SIGINT, 130, "finishing this round and saving; press Ctrl-C again to stop at once", ()),
        (
            signal.SIGTERM,
            143,
            "SIGTERM: finishing this round and saving; another signal stops at once",
            ("--workers", "1"),
        ),
    ],
)
def test_a_signal_finishes_the_round_saves_and_exits_with_its_code(
    tmp_path: Path, whole: dict[str, Any], number: signal.Signals, code: int, line: str, workers: tuple[str, ...]
) -> None:
    """A scheduler's SIGTERM reaches every process of a job; the workers leave it to their server."""
    folder = tmp_path / "run"
    process = launch(folder, *workers)
    wait_for(process, lambda: rounds_logged(folder) >= 1)
    for worker in psutil.Process(process.pid).children() if workers else ():
        worker.send_signal(number)
    process.send_signal(number)
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == code, err
    assert line in err
    assert f"interrupted and saved; go on with: fedstrata resume {folder}" in out
    assert "Traceback" not in err
    done = rounds_logged(folder)
    assert (folder / "checkpoints" / f"round-{done:04}").is_dir()
    assert events(folder, "end")[-1]["state"] == "interrupted"
    assert not any(client["failure"] for client in events(folder, "client"))
    resume(folder, overrides=HERE)
    assert essence(folder) == whole


def test_a_run_whose_streams_are_closed_or_broken_plays_to_its_end(tmp_path: Path) -> None:
    """Its interpreters and its worker's are fresh ones, and compute what this process computes."""
    folder, options = tmp_path / "run", {**OPTIONS, "train": {**TRAIN, "rounds": 2}}
    config = write_config(tmp_path / "run.yaml", digits(folder, **options))
    command = f"{sys.executable} -m fedstrata run {config} --workers 1 <&- 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANG, check=True)
    first, code = done.stdout.splitlines()
    assert first.startswith("3 clients with ")
    assert code == "0"
    assert done.stderr == ""
    assert events(folder, "end")[-1]["state"] == "finished"
    start(digits(tmp_path / "here", **options))
    assert essence(folder) == essence(tmp_path / "here")


def test_a_second_ctrl_c_stops_at_once_and_whole_rounds_are_kept(tmp_path: Path) -> None:
    """A client that sleeps for an hour: only a stop at once ends this run in time."""
    folder = tmp_path / "run"
    (tmp_path / "slow_selector.py").write_text(SLOW)
    selector = {"kind": "slow_selector:Slow", "marker": str(tmp_path / "sleeping")}
    process = launch(folder, selector=selector)
    wait_for(process, lambda: (tmp_path / "sleeping").exists())
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    seen = ""
    while "finishing this round" not in seen:
        seen += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130, err
    assert f"stopped; go on with: fedstrata resume {folder}" in err
    assert "Traceback" not in err
    assert rounds_logged(folder) == 2
    assert (folder / "checkpoints" / "round-0002").is_dir()
    assert events(folder, "end")[-1]["state"] == "interrupted"


SLOW = """\
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from fedstrata.selectors.ends import Top
@dataclass(frozen=True)
class Slow:
    marker: str
    def init(self, layers):
        return {}
    def probes(self, round, cohort, state):
        return ()
    def select(self, problem, state):
        if problem.round == 2:
            Path(self.marker).touch()
            sleep(3600)
        return Top().select(problem, state)
"""
