"""One numbering of rounds, from 1, in every place where people look at a run."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fedstrata.comparison.outcome import outcome_of
from fedstrata.domain.records import Metrics
from fedstrata.errors import TrainingError
from fedstrata.report.progress import PlainProgress
from fedstrata.report.write_report import write_report
from fedstrata.runs.reading import read_run
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.rules import Rules
from fedstrata.wire.messages import Train
from piggyback_runs import noting
from small_runs import events, toy_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds, of which the second comes about in its second attempt; the third loses client b."""
    path = tmp_path_factory.mktemp("numbers")

    def lost(request: object) -> bool:
        if not isinstance(request, Train):
            return False
        return (request.round, request.origin.attempt) == (1, 0) or (request.round, request.client) == (2, "b")

    run, weights = toy_run(path, selector=Consensus(), engine=noting([], lost), rules=Rules(retries=1), piggyback=True)
    said: list[str] = []
    replace(run, observer=PlainProgress(said.append)).start(weights)
    (path / "said.txt").write_text("\n".join(said))
    write_report([path], path / "report.html")
    return path


def test_progress_and_errors(folder: Path) -> None:
    said = (folder / "said.txt").read_text()
    assert re.findall(r"rounds? (\d+)", said) == ["1", "1", "2", "2", "3"]
    assert "rounds 1 to 3" in said
    (abandoned,) = events(folder, "abandoned")
    assert abandoned["message"].startswith("round 2 is abandoned")


def test_log_tables_and_summary(folder: Path) -> None:
    assert [e["round"] for e in events(folder, "round")] == [1, 2, 3]
    assert sorted({e["round"] for e in events(folder, "client")}) == [1, 2, 3]
    assert {(e["round"], e["probe_round"]) for e in events(folder, "client")} == {(1, 1), (2, 1), (3, 2)}
    assert [e["round"] for e in events(folder, "abandoned")] == [2]
    with (folder / "metrics.csv").open() as file:
        assert [row["round"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert set(pq.read_table(folder / "selection.parquet")["round"].to_pylist()) == {1, 2, 3}
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["rounds"], summary["final"]["round"]) == (3, 3)
    assert 0 <= summary["best"]["round"] <= 3


def test_report_and_comparison(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert set(re.findall(r"[Rr]ound (\d+)", page)) == {"0", "1", "2", "3"}
    assert {s.strip() for s in re.findall(r"[^.<>]*[Rr]ound 0[^.<>]*", page)} == {"Round 0 is the starting point"}
    assert "round 2: 1 attempt abandoned" in page
    assert "CLIENT_ERROR, round 3: 1" in page
    assert [point.round for point in outcome_of(read_run(folder), row="", size="", method="m", budget="b").curve] == [
        0,
        1,
        2,
        3,
    ]


def test_a_loss_that_is_not_finite_names_the_round_that_progress_was_in(tmp_path: Path) -> None:
    answers = iter([Metrics(0.1, 1.0, 40), Metrics(0.1, 1.0, 40), Metrics(0.1, float("inf"), 40)])
    run, weights = toy_run(tmp_path, test=lambda _: next(answers))
    with pytest.raises(TrainingError, match=r"after round 2 the test loss is inf"):
        run.start(weights)
