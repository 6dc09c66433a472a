"""The Python door: every verb is a function with a typed result, and nothing is printed unless it is asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fedstrata
from fedstrata.api import ModelLayers
from fedstrata.errors import CheckpointError, ConfigError
from small_runs import digits

VERBS = ("compare", "layers", "plan", "report", "resume", "run", "solve", "sweep")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run of one round."""
    values = digits(tmp_path_factory.mktemp("api") / "run", train={"rounds": 1, "steps": 1, "batch_size": 8})
    return fedstrata.run(values).folder


def test_every_verb_is_a_public_name_that_can_be_called() -> None:
    assert set(VERBS) <= set(fedstrata.__all__) <= set(dir(fedstrata))
    assert [name for name in VERBS if not callable(getattr(fedstrata, name))] == []


def test_names_are_there_before_anything_slow_is_imported() -> None:
    script = "import sys, fedstrata; print(*dir(fedstrata), *(m for m in sys.modules if m in ('torch', 'scipy')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said = set(done.stdout.split())
    assert set(VERBS) <= said
    assert not said & {"torch", "scipy"}


def test_runs_are_silent_unless_progress_is_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = {"rounds": 1, "steps": 1, "batch_size": 8}
    fedstrata.run(digits(tmp_path / "silent", train=train))
    assert capsys.readouterr() == ("", "")
    fedstrata.run(digits(tmp_path / "told", train=train), progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "round 1/1" in said.err
    with pytest.raises(ConfigError, match="not both"):
        fedstrata.run(digits(tmp_path / "both"), progress=True, observer=_Nobody)  # type: ignore[arg-type]


class _Nobody:
    """Stands for an observer that is never asked."""


def test_a_finished_run_goes_on(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="has finished"):
        fedstrata.resume(folder)
    result = fedstrata.resume(folder, rounds=2, overrides=["train.lr=0.05"])
    assert (result.state, result.summary["rounds"]) == ("finished", 2)


def test_a_plan_and_layers_are_typed(tmp_path: Path) -> None:
    plan = fedstrata.plan(digits(tmp_path / "never"), clients=2, rows=16)
    assert len(plan.clients) == 2
    with pytest.raises(ConfigError, match="needs clients and rows"):
        fedstrata.plan(digits(tmp_path / "never"), clients=2)
    found = fedstrata.layers("embedded:vit-digits")
    assert isinstance(found, ModelLayers)
    assert (len(found.layers), found.note) == (6, None)
    assert not (tmp_path / "never").exists()


def test_runs_are_compared_and_reported(folder: Path, tmp_path: Path) -> None:
    (contest,) = fedstrata.compare(folder)
    assert len(contest.lines) == 1
    page = fedstrata.report(folder, tmp_path / "page.html")
    assert "<!doctype html>" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="no run folder is given"):
        fedstrata.report([])


def test_the_report_is_a_function_and_a_package() -> None:
    import fedstrata.report.write_report as page
    from fedstrata import report

    assert callable(report)
    assert inspect.signature(report) == inspect.signature(page.write_report)


@pytest.mark.parametrize("wrong", [{"clients": 0, "rows": 5}, {"clients": 2, "rows": -1}])
def test_a_plan_for_nobody_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="it has to be at least 1"):
        fedstrata.plan({"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}}, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"length": 0}, {"size": -8}])
def test_layers_of_an_empty_batch_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="it has to be at least 1"):
        fedstrata.layers("embedded:vit-digits", **wrong)  # type: ignore[arg-type]


def test_one_text_is_no_list_of_overrides() -> None:
    with pytest.raises(ConfigError, match=r"overrides are a list of texts.* got one text, 'seed=1'"):
        fedstrata.plan({"data": {"kind": "digits"}}, overrides="seed=1")


def test_a_mapping_that_holds_itself_is_refused() -> None:
    config: dict[str, object] = {}
    config["name"] = config
    with pytest.raises(ConfigError, match="lies more than 50 lists or mappings deep"):
        fedstrata.plan(config)
