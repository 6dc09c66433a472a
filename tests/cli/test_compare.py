"""``fedstrata compare``: tables, files and JSON from results files and from runs that were really played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fedstrata.cli.compare import compare
from fedstrata.comparison.results import read_outcomes, write_outcomes
from fedstrata.errors import ConfigError, FedstrataError, StorageError
from fedstrata.selectors.ends import Full, Top
from fedstrata.selectors.protocol import Selector
from report.made_outcomes import several
from small_runs import toy_run

SIX = [0.5, 0.51, 0.52, 0.53, 0.54, 0.56]


def invoke(*words: str) -> Result:
    app = typer.Typer()
    app.command()(compare)
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def failed(*words: str) -> FedstrataError:
    error = invoke(*words).exception
    assert isinstance(error, FedstrataError)
    return error


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results file of two methods and six seeds."""
    path = tmp_path / "results.csv"
    write_outcomes(path, [*several("top", SIX), *several("consensus", [0.25] * 6)])
    return path


def test_the_tables_are_printed(results: Path) -> None:
    said = invoke(str(results))
    assert said.exit_code == 0, said.output
    assert "digits, small, budget R1" in said.output
    assert "consensus (reference)" in said.output
    assert "+27.67 [" in said.output


def test_all_files_are_written_into_new_folders(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    words = ("--csv", str(out / "a.csv"), "--markdown", str(out / "a.md"), "--html", str(out / "a.html"))
    said = invoke(str(results), *words, "--note", "made by hand")
    assert [f"written: {out / name}" in said.output for name in ("a.csv", "a.md", "a.html")] == [True] * 3
    assert read_outcomes(out / "a.csv") == read_outcomes(results)
    assert (out / "a.md").read_text().startswith("made by hand\n")
    assert "made by hand" in (out / "a.html").read_text()


def test_json_is_all_that_is_printed(results: Path) -> None:
    values = json.loads(invoke(str(results), "--json", "--target", "50%", "--sort", "mean").output)
    (contest,) = values["comparisons"]
    assert [m["label"] for m in contest["methods"]] == ["top", "consensus"]
    assert contest["target"] == 0.5


@pytest.mark.parametrize("target", ["1.5", "150%", "high", "-0.1", "nan"])
def test_a_target_that_is_no_accuracy_is_refused(results: Path, target: str) -> None:
    error = failed(str(results), f"--target={target}")
    assert isinstance(error, ConfigError)
    assert f"--target '{target}' is no accuracy; write one from 0 to 1" in str(error)


def test_a_file_that_cannot_be_written_is_told(results: Path) -> None:
    error = failed(str(results), "--markdown", str(results / "a.md"))
    assert isinstance(error, StorageError)
    assert "cannot be written" in str(error)


def test_runs_that_were_played_are_compared(tmp_path: Path) -> None:
    methods: dict[str, Selector] = {"full": Full(), "top": Top()}
    for name, selector in methods.items():
        for seed in range(2):
            run, weights = toy_run(tmp_path / name / f"s{seed}", selector=selector, seed=seed, rounds=2, budget=9)
            run.start(weights)
            _rename(tmp_path / name / f"s{seed}", name)
    said = invoke(str(tmp_path), "--csv", str(tmp_path / "all.csv"))
    assert said.exit_code == 0, said.output
    assert "full (reference)" in said.output
    outcomes = read_outcomes(tmp_path / "all.csv")
    assert [(o.method, o.seed, o.rounds) for o in outcomes] == [
        ("full", 0, 2), ("full", 1, 2), ("top", 0, 2), ("top", 1, 2)
    ]  # fmt: skip
    assert all(o.bytes_up > 0 and o.accuracy is not None for o in outcomes)


def _rename(folder: Path, method: str) -> None:
    """Give a toy run the name of its method."""
    log = folder / "events.jsonl"
    log.write_text(
        log.read_text()
        .replace('"method": "toy"', f'"method": "{method}"')
        .replace('"method":"toy"', f'"method":"{method}"')
    )
