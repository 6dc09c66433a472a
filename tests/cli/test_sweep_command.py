"""``fedstrata sweep``: what it says and how it exits, with workers that only pretend to play."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands import Said
from fedstrata.cli.sweep_progress import Pace, SweepProgress
from sweep_files import loaded, sweep_file, with_toy_workers

EXAMPLE = Path(__file__).parents[2] / "examples" / "sweep.yaml"
TOP: dict[str, Any] = {"set": {"selector": "top"}}
Cli = Callable[..., Said]


@pytest.fixture(autouse=True)
def _pretending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_toy_workers(monkeypatch, tmp_path)


def test_a_dry_run_lists_the_runs_and_how_they_stand_and_plays_none(cli: Cli, tmp_path: Path) -> None:
    said = cli("sweep", str(sweep_file(tmp_path, seeds=[0])), "--dry-run")
    out = tmp_path / "out"
    assert said.out.splitlines() == [
        f"new       top  default  seed 0  {out}/top/default/s0",
        f"new       bottom  default  seed 0  {out}/bottom/default/s0",
    ]
    assert said.err == f"digits (tiny): 2 runs: 2 methods, 1 budgets, 1 seeds; in {out}\n"
    assert (said.code, out.exists()) == (0, False)


def test_the_example_stands_for_its_runs(cli: Cli) -> None:
    said = cli("sweep", str(EXAMPLE), "--dry-run")
    assert "digits (example): 13 runs: 5 methods, 2 budgets, 2 seeds" in said.err
    assert len(said.out.splitlines()) == 13


def test_elsewhere_than_on_a_terminal_a_run_is_a_line(cli: Cli, tmp_path: Path) -> None:
    said = cli("sweep", str(sweep_file(tmp_path, seeds=[0])), "--workers", "1")
    lines = said.err.splitlines()[1:]
    pattern = r"{}/2  {}  default  seed 0  accuracy 0\.\d{{3}}  \d+\.\d\d MB up  \d+\.\d s  ETA .*"
    assert re.fullmatch(pattern.format(1, "top"), lines[0])
    assert re.fullmatch(pattern.format(2, "bottom"), lines[1])
    assert said.out == f"results: {tmp_path}/out/results.csv   (2 lines)\n"
    assert said.code == 0


def test_what_is_done_is_counted(cli: Cli, tmp_path: Path) -> None:
    file = str(sweep_file(tmp_path, seeds=[0]))
    cli("sweep", file, "--only", "top", "--quiet")
    said = cli("sweep", file)
    assert "1 runs are done, 1 to play" in said.err
    assert "2/2  bottom" in said.err


def test_failures_are_told_at_the_end_and_the_exit_code_is_4(cli: Cli, tmp_path: Path) -> None:
    said = cli("sweep", str(sweep_file(tmp_path, seeds=[0], methods={"fails": TOP, "top": TOP})), "--quiet")
    assert said.err == f"failed: {tmp_path}/out/fails/default/s0: no more rows\n"
    assert said.out == f"results: {tmp_path}/out/results.csv   (1 lines, 1 runs failed)\n"
    assert said.code == 4


def test_overridden_values_leave_the_table_of_the_file_alone_and_that_is_said(cli: Cli, tmp_path: Path) -> None:
    file = str(sweep_file(tmp_path, seeds=[0], results="r.csv"))
    said = cli("sweep", file, "--set", "train.rounds=1", "--out", str(tmp_path / "there"), "--quiet")
    assert said.err == f"note: values are overridden, so {tmp_path}/r.csv is left alone\n"
    assert (tmp_path / "there" / "results.csv").exists()
    assert not (tmp_path / "r.csv").exists()


def test_runs_in_another_folder_leave_the_table_of_the_file_alone_and_that_is_said(cli: Cli, tmp_path: Path) -> None:
    file = str(sweep_file(tmp_path, seeds=[0], results="r.csv"))
    said = cli("sweep", file, "--out", str(tmp_path / "there"), "--dry-run")
    assert f"note: runs go to another folder, so {tmp_path}/r.csv is left alone\n" in said.err


def test_another_configuration_is_refused_with_exit_code_2_unless_redone(cli: Cli, tmp_path: Path) -> None:
    file = str(sweep_file(tmp_path, seeds=[0]))
    cli("sweep", file, "--quiet")
    refused = cli("sweep", file, "--set", "train.rounds=3", "--quiet")
    assert refused.code == 2
    assert "top/default/s0: train.rounds was 2, now 3" in refused.err
    assert cli("sweep", file, "--set", "train.rounds=3", "--quiet", "--redo").code == 0


def test_ctrl_c_saves_says_what_is_left_and_exits_with_130(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SweepProgress, "rounds_done", lambda *_: signal.raise_signal(signal.SIGINT))
    said = cli("sweep", str(sweep_file(tmp_path, seeds=[0], methods={"waits": TOP, "top": TOP})), "--workers", "1")
    assert "finishing this round and saving; press Ctrl-C again to stop at once" in said.err
    assert "waits  default  seed 0  interrupted and saved" in said.err
    assert said.out.endswith("(0 lines, 2 runs left; the same command goes on)\n")
    assert said.code == 130


def test_a_second_ctrl_c_ends_the_workers_at_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SweepProgress, "rounds_done", twice)
    said = cli("sweep", str(sweep_file(tmp_path, seeds=[0], methods={"waits": TOP})), "--workers", "1")
    assert said.err.endswith("stopped; the same command goes on\n")
    assert said.code == 130


def test_on_a_terminal_there_are_bars_for_the_sweep_and_each_worker(tmp_path: Path) -> None:
    console = Console(force_terminal=True, width=120, record=True, color_system=None)
    progress, jobs = SweepProgress(console, bars=True), loaded(tmp_path).jobs
    with console.capture() as captured:
        progress.sweep_started(todo=jobs, done=0, workers=2)
        progress.run_given(0, jobs[0])
        progress.rounds_done(0, jobs[0], 0)
        progress.rounds_done(0, jobs[0], 1)
        progress.run_given(1, jobs[2])
        progress.sweep_done()
    shown = captured.get()
    assert "1/8" in shown  # four runs of two rounds
    assert "top  default  seed 0" in shown
    assert "bottom  default  seed 0" in shown


def test_time_left_follows_from_the_rounds_played_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.cli.sweep_progress.monotonic", lambda: 160.0)
    pace = Pace(of=10, total=100, done=20, played=30, started=100.0)
    assert pace.eta(under_way=20) == "0:02:00"  # 2 s a round, and 60 rounds to go
    assert Pace().eta(0) == "-:--:--"
