"""The table of results: lines in the order of the file, and clients that train alone as one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.comparison.results import read_outcomes
from fedstrata.errors import CheckpointError, StorageError
from fedstrata.sweeping.jobs import Job
from fedstrata.sweeping.table import Table
from report.synthetic_run import write_run
from sweep_files import loaded

ALONE: dict[str, Any] = {"alone": {"set": {"selector": "top"}, "each_client": True}}


def written(job: Job, *, names: tuple[str, ...] = ("a", "b"), start: float = 0.1) -> Job:
    """Leave the folder of a run that has finished."""
    write_run(job.folder, seed=job.seed, rounds=2, names=names, start=start)
    return job


def test_lines_have_the_order_of_the_file_however_runs_end(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, results="tables/digits.csv")
    table = Table(sweep)
    for job in reversed(sweep.jobs):
        assert table.take(written(job)) is not None
    table.write()
    found = read_outcomes(tmp_path / "out" / "results.csv")
    assert [(o.row, o.size, o.method, o.budget, o.seed) for o in found] == [
        ("digits", "tiny", "top", "default", 0),
        ("digits", "tiny", "top", "default", 1),
        ("digits", "tiny", "bottom", "default", 0),
        ("digits", "tiny", "bottom", "default", 1),
    ]
    assert (tmp_path / "tables" / "digits.csv").read_bytes() == (tmp_path / "out" / "results.csv").read_bytes()


def test_clients_that_train_alone_are_a_line_once_all_of_them_are_there(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, seeds=[3], methods=ALONE)
    table, (first, second) = Table(sweep), sweep.jobs
    assert table.take(written(first)) is None
    assert list(table.outcomes) == []
    line = table.take(written(second, start=0.3))
    assert line is not None
    assert (line.method, line.seed, line.bytes_up) == ("alone", 3, 0)
    assert line.baseline == pytest.approx(0.2)
    assert list(table.outcomes) == [line]


def test_clients_that_are_not_those_of_the_plan_are_an_error(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, seeds=[3], methods=ALONE)
    with pytest.raises(CheckpointError, match=r"clients of seed 3 are not those of the plan \(c\); use a partition"):
        Table(sweep).take(written(sweep.jobs[0], names=("a", "b", "c")))


def test_a_table_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "tables").touch()
    with pytest.raises(StorageError, match=r"tables/r\.csv cannot be written: .*; make room or name another$"):
        Table(loaded(tmp_path, results="tables/r.csv")).write()
