"""One run of a sweep by itself: its command, its name, and that it goes on like any run of the sweep."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedstrata.cli.main import app
from fedstrata.errors import ConfigError
from fedstrata.sweeping.jobs import load_sweep
from fedstrata.sweeping.run import play_sweep
from fedstrata.sweeping.single import commands, job_of, play_single
from flower_deployment import model_bits
from small_runs import after
from sweep_files import loaded, sweep_file, two_clients


def test_a_command_names_the_run_from_any_folder_and_with_what_the_sweep_was_read_with(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, overrides=["train.lr=0.5"])
    first, *others = commands(sweep, sweep.jobs, ["train.lr=0.5", "name=it's"])
    assert len(others) == 3
    assert shlex.split(first) == [
        *("fedstrata", "sweep", str(tmp_path / "sweep.yaml"), "--run", "top/default/s0"),
        *("--out", str(tmp_path / "out"), "--set", "train.lr=0.5", "--set", "name=it's"),
    ]


def test_a_run_that_the_sweep_does_not_have_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--run tup/default/s0: the sweep has no such run; .*top/default/s0"):
        job_of(loaded(tmp_path), "tup/default/s0")


def test_runs_that_are_played_one_by_one_are_those_of_the_sweep_and_go_on(tmp_path: Path) -> None:
    sweep = load_sweep(sweep_file(tmp_path, seeds=[0]), clients=two_clients)
    names = ["top/default/s0", "bottom/default/s0"]
    assert play_single(sweep, names[0], stop=after(1)) == "interrupted"
    rounds: list[int] = []
    assert play_single(sweep, names[0], tell=rounds.append) == "finished"
    assert rounds == [1, 2]
    assert play_single(sweep, names[0], tell=rounds.append) == "finished"
    assert rounds == [1, 2]  # nothing was played again
    assert play_single(sweep, names[1]) == "finished"
    assert not (tmp_path / "out" / "results.csv").exists()
    result = play_sweep(sweep, workers=1)
    assert [(o.method, o.seed) for o in result.outcomes] == [("top", 0), ("bottom", 0)]
    other = load_sweep(sweep_file(tmp_path, seeds=[0]), output=tmp_path / "whole", clients=two_clients)
    play_single(other, names[0])
    assert model_bits(tmp_path / "whole" / names[0]) == model_bits(tmp_path / "out" / names[0])
    changed = load_sweep(sweep_file(tmp_path, seeds=[0]), overrides=["train.lr=0.5"], clients=two_clients)
    with pytest.raises(ConfigError, match=r"train\.lr was 0\.1, now 0\.5; put back what has changed, or .*--redo"):
        play_single(changed, names[0])


def test_commands_are_printed_and_nothing_is_played(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["sweep", str(sweep_file(tmp_path)), "--commands", "--only", "top"])
    assert said.exit_code == 0, said.output
    assert [shlex.split(line)[4] for line in said.stdout.splitlines()] == ["top/default/s0", "top/default/s1"]
    assert not (tmp_path / "out").exists()
