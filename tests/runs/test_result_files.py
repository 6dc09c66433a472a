"""Tables: derived from the log, and equal to it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fedstrata.runs.folder import RunFolder
from fedstrata.runs.result_files import COLUMNS, summarise, write_tables
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Top
from small_runs import events, toy_run

SUMMARY = {
    "schema", "state", "method", "seed", "model", "data", "rounds", "planned_rounds", "baseline", "final", "best",
    "bytes_up", "bytes_down", "seconds", "peak_bytes", "over_memory", "failures", "losses", "abandoned", "skipped",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    run, weights = toy_run(path, selector=Consensus(), rounds=3, evaluate_every=2, per_round=3)
    run.start(weights)
    return path


def test_the_selection_table_is_the_log(folder: Path) -> None:
    rows = pq.read_table(folder / "selection.parquet").to_pylist()
    clients = events(folder, "client")
    assert len(rows) == 3 * 3 * 3
    assert rows == [
        {
            "round": e["round"],
            "client": e["client"],
            "layer": layer,
            "name": f"blocks.{layer}",
            "chosen": layer in e["mask"],
            "score": e["scores"][layer],
            "probe_round": e["probe_round"],
        }
        for e in clients
        for layer in range(3)
    ]


def test_the_selection_table_says_which_rounds_weights_a_score_is_of(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Consensus(), rounds=3, piggyback=True)
    run.start(weights)
    rows = pq.read_table(tmp_path / "selection.parquet").to_pylist()
    assert {(r["round"], r["probe_round"]) for r in rows} == {(1, 1), (2, 1), (3, 2)}


def test_the_selection_table_has_no_score_where_nobody_was_asked(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Top(), rounds=1)
    run.start(weights)
    table = pq.read_table(tmp_path / "selection.parquet")
    assert set(table["score"].to_pylist()) == set(table["probe_round"].to_pylist()) == {None}


def test_the_metrics_table_is_the_log(folder: Path) -> None:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    rounds = events(folder, "round")
    assert list(rows[0]) == list(COLUMNS)
    assert [r["bytes_up"] for r in rows] == [str(e["bytes_up"]) for e in rounds]
    assert [int(r["total_bytes_up"]) for r in rows] == [sum(e["bytes_up"] for e in rounds[: i + 1]) for i in range(3)]
    assert [r["accuracy"] for r in rows] == ["", str(rounds[1]["test"]["accuracy"]), str(rounds[2]["test"]["accuracy"])]
    assert [r["clients"] for r in rows] == ["3", "3", "3"]


def test_the_summary_has_every_key(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert set(summary["final"]) == {"accuracy", "loss", "round"}
    assert summary["best"]["accuracy"] <= 1
    assert summary["bytes_up"] == sum(e["bytes_up"] for e in events(folder, "round"))
    assert summary["bytes_down"] == sum(e["bytes_down"] for e in events(folder, "client"))


def test_writing_again_changes_nothing(folder: Path) -> None:
    before = {n: (folder / n).read_bytes() for n in ("metrics.csv", "summary.json", "selection.parquet")}
    best = json.loads(before["summary.json"])["best"]
    write_tables(RunFolder(folder), state="finished", best=best)
    assert {n: (folder / n).read_bytes() for n in before} == before


def test_the_final_figures_of_a_run_that_was_never_evaluated_are_those_before_training() -> None:
    log: list[dict[str, Any]] = [
        {"event": "run", "method": "m", "seed": 0, "model": "x", "data": "y", "rounds": 9},
        {"event": "baseline", "test": {"accuracy": 0.5, "loss": 1.0, "num_examples": 4}},
        {
            "event": "round",
            "round": 1,
            "test": None,
            "committed": True,
            "losses": {},
            "bytes_up": 1,
            "bytes_down": 2,
            "seconds": 0.5,
            "peak_bytes": 7,
        },
    ]
    summary = summarise(log, state="interrupted", best=None)
    assert summary["final"] == {"accuracy": 0.5, "loss": 1.0, "round": 0}
    assert summary["rounds"] == 1


def test_a_run_folder_s_relative_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, weights = toy_run(Path("os:system"), selector=Top(), rounds=1)
    run.start(weights)
    assert len(pq.read_table(tmp_path / "os:system" / "selection.parquet")) == 12
