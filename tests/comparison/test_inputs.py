"""What is compared: which folders and files are read, what keeps runs apart, and that none counts twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.comparison.inputs import gather
from fedstrata.comparison.results import write_outcomes
from fedstrata.errors import CheckpointError, DataError
from report.made_outcomes import outcome
from report.synthetic_run import write_run


def test_a_folder_of_run_folders_is_all_of_them(tmp_path: Path) -> None:
    for method, seed in (("consensus", 0), ("consensus", 1), ("top", 0)):
        write_run(tmp_path / "runs" / method / f"s{seed}", method=method, seed=seed, rounds=1)
    (tmp_path / "runs" / ".s9.tmp").mkdir()
    found = gather([tmp_path / "runs"])
    assert [(o.method, o.seed) for o in found.outcomes] == [("consensus", 0), ("consensus", 1), ("top", 0)]
    assert {o.row for o in found.outcomes} == {"digits, inverted and rotated"}
    assert found.notes == ()


def test_a_sweeps_results_stand_for_the_runs_below_them(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep" / "top" / "s0", method="top", seed=0, rounds=1)
    write_outcomes(tmp_path / "sweep" / "results.csv", [outcome("top")])
    assert gather([tmp_path / "sweep"]).outcomes == (outcome("top"),)
    assert gather([tmp_path]).outcomes == (outcome("top"),)


def test_files_and_folders_may_be_mixed_and_count_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", method="full", seed=0, rounds=1)
    write_outcomes(tmp_path / "a.csv", [outcome("top"), outcome("consensus")])
    write_outcomes(tmp_path / "b.csv", [replace(outcome("top"), seconds=99.0), outcome("top", seed=1)])
    found = gather([tmp_path / "a.csv", run, tmp_path / "b.csv", run, tmp_path / "a.csv"])
    assert [(o.method, o.seed) for o in found.outcomes] == [("top", 0), ("consensus", 0), ("top", 1), ("full", 0)]


def test_two_outcomes_of_one_seed_that_contradict_are_refused(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "a.csv", [outcome("top", 0.5)])
    write_outcomes(tmp_path / "b.csv", [outcome("top", 0.25)])
    with pytest.raises(DataError, match=r"seed 0 of 'top' on digits is there twice .*a\.csv and in .*b\.csv; pass one"):
        gather([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_runs_of_other_data_are_apart_and_the_key_is_named(tmp_path: Path) -> None:
    for name, alpha in (("a", 0.1), ("b", 1.0)):
        extra = {"data": {"partition": {"alpha": alpha}}}
        write_run(tmp_path / name, method="top", seed=0, rounds=1, extra=extra)
    found = gather([tmp_path])
    assert len({o.row for o in found.outcomes}) == 2
    (note,) = found.notes
    assert note == (
        "The run folders are of 2 settings, which are not compared with one another: "
        "they differ in data.partition.alpha."
    )


def test_a_run_that_did_not_finish_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "run", rounds=1, planned=3, end=None)
    (note,) = gather([tmp_path / "run"]).notes
    assert note == "Not finished, and compared as they stand: run (broken off, 1 of 3 rounds)."


def test_a_path_that_holds_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("empty", "holds no run folder and no results.csv of a sweep"),
        ("notes.txt", "is neither a run folder nor a results file"),
        ("none", "does not exist"),
    ):
        with pytest.raises(CheckpointError, match=said):
            gather([tmp_path / name])
    (tmp_path / "other.csv").write_text("round,accuracy\n1,0.5\n")
    with pytest.raises(DataError, match="column 'row' is missing"):
        gather([tmp_path / "other.csv"])
