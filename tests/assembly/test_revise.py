"""A run goes on to more rounds, or with other settings for those to come, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from commands import Said
from fedstrata.assembly.revise import Revision, revise
from fedstrata.errors import CheckpointError, ConfigError, TrainingError
from small_runs import after, digits, essence, events, resume, start


def small(folder: Path, rounds: int, **train: object) -> dict[str, Any]:
    plan = {"rounds": rounds, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd", **train}
    return digits(folder, train=plan)


def weights(run: Mapping[str, Any]) -> object:
    return run["model"], [e for e in run["events"] if e["event"] == "client"], run["metrics"]


def test_a_finished_run_goes_on_to_the_bits_of_a_longer_one(tmp_path: Path) -> None:
    start(small(tmp_path / "more", 1))
    revise(tmp_path / "more", Revision(rounds=2))
    resume(tmp_path / "more")
    start(small(tmp_path / "whole", 2))

    more, whole = essence(tmp_path / "more"), essence(tmp_path / "whole")
    assert weights(more) == weights(whole)
    assert more["summary"] == whole["summary"]
    assert (tmp_path / "more" / "model-round-1" / "model.safetensors").is_file()
    assert [e["rounds"] for e in events(tmp_path / "more", "plan")] == [2]


def test_what_stands_already_is_not_asked_for_again_and_fewer_rounds_are_refused(tmp_path: Path) -> None:
    start(small(tmp_path / "run", 1))
    for rounds in (None, 1):
        with pytest.raises(ConfigError, match="has played 1 round; --rounds is the number of all of them"):
            revise(tmp_path / "run", Revision(rounds=rounds, settings=("train.lr=0.2",)))
    with pytest.raises(CheckpointError, match=r"More rounds: fedstrata resume .* --rounds N"):
        resume(tmp_path / "run")


def test_a_run_that_diverged_goes_on_with_another_rate(tmp_path: Path) -> None:
    start(small(tmp_path / "run", 2), stop=after(1))
    revise(tmp_path / "run", Revision(settings=("train.lr=1e38", "round.retries=0")))
    with pytest.raises(TrainingError):
        resume(tmp_path / "run")

    revise(tmp_path / "run", Revision(settings=("train.lr=0.1",)))
    assert resume(tmp_path / "run").state == "finished"
    assert [e["settings"]["train.lr"] for e in events(tmp_path / "run") if e["event"] in ("run", "plan")] == [
        0.1,
        1e38,
        0.1,
    ]


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("seed=1", "what may change: train.rounds"),
        ("train.lrr=1", "did you mean 'train.lr'"),
        ("data.held_out=0.5", "rounds that have been played depend on it"),
        ("selector=full", "start a new run"),
    ],
)
def test_what_the_past_depends_on_is_refused(tmp_path: Path, setting: str, hint: str) -> None:
    (tmp_path / "config.resolved.yaml").write_text("")
    with pytest.raises(ConfigError, match=f"--set {setting.partition('=')[0]}: .*{hint}"):
        revise(tmp_path, Revision(settings=(setting,)))


def test_without_checkpoints_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    start(small(tmp_path / "run", 1))
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="has no checkpoint to go on from"):
        revise(tmp_path / "run", Revision(rounds=2))


def test_the_verb_takes_both_and_a_new_run_starts_from_the_model(tmp_path: Path, cli: Callable[..., Said]) -> None:
    first = start(small(tmp_path / "run", 1))
    said = cli("resume", str(tmp_path / "run"), "--rounds", "2", "--set", "train.lr=0.05", "-q")
    assert said.code == 0
    assert "after 2 of 2 rounds" in said.out
    values = small(tmp_path / "next", 1) | {"model": {"path": str(tmp_path / "run" / "model-round-1")}}
    start(values)
    assert events(tmp_path / "next", "baseline")[0]["test"]["accuracy"] == first.summary["final"]["accuracy"]
