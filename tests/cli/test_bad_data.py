"""Bad data, models and runs on the user's own files: one sentence, exit codes 2, 3 and 4, nothing half done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedstrata.runs.folder import RunFolder
from small_models import save_bert, save_text
from small_runs import digits, write_config


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and data that work together."""
    folder = tmp_path_factory.mktemp("files")
    save_bert(folder / "bert")
    save_text(folder / "train.parquet", 40)
    save_text(folder / "test.csv", 10, seed=1)
    data = {
        "train": "train.parquet",
        "test": "test.csv",
        "text": "note",
        "label": "outcome",
        "partition": {"kind": "iid", "clients": 3},
    }
    train = {"rounds": 1, "steps": 1, "batch_size": 4}
    write_config(folder / "c.yaml", {"model": {"path": "bert"}, "data": data, "train": train})
    return folder


@pytest.fixture
def run(cli: Callable[..., Any], files: Path) -> Callable[..., Any]:
    """Run the good configuration with overrides."""

    def play(*overrides: str) -> object:
        sets = [part for text in overrides for part in ("--set", text)]
        said = cli("run", str(files / "c.yaml"), "--set", "output=out", *sets)
        assert "Traceback" not in said.err
        return said

    return play


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.train=trian.parquet", "did you mean 'train.parquet'?"),
        ("data.test=nope/*.csv", "no data file matches 'nope/*.csv'"),
        ("data.label=outcom", "train.parquet has no column 'outcom'; did you mean 'outcome'?"),
        ("data.text=nota", "train.parquet has no column 'nota'; did you mean 'note'?"),
        ("data.partition={kind: natural-id, column: hospital}", "train.parquet has no column 'hospital'"),
        ("data.partition.clients=300", "40 rows cannot be split as asked, which takes at least 300"),
        (
            "data.partition={kind: dirichlet, clients: 4, alpha: 0.001}",
            "one of 4 clients always got fewer than 10 rows",
        ),
    ],
)
def test_bad_data_are_a_sentence_and_exit_code_3(run: Callable[..., Any], override: str, sentence: str) -> None:
    said = run(override)
    assert sentence in said.err
    assert said.err.startswith("fedstrata: ")
    assert said.err.count("\n") == 1
    assert said.code == 3
    assert not Path("out").exists()


def test_a_data_error_says_where_the_data_are_configured(run: Callable[..., Any], files: Path) -> None:
    assert run("data.label=outcom").err.startswith(f"fedstrata: {files / 'c.yaml'}:3:1: data: ")


@pytest.mark.parametrize(
    ("name", "columns", "sentence"),
    [
        (
            "float",
            {"note": ["a"] * 4, "outcome": [1.5] * 4},
            "row 0: column 'outcome' holds 1.5; labels are whole numbers",
        ),
        (
            "ugly",
            {"note": ["a"] * 4, "outcome": ["good", "ugly"] * 2},
            "row 1: column 'outcome' holds 'bad', which is not a label",
        ),
    ],
)
def test_bad_labels(run: Callable[..., Any], files: Path, name: str, columns: dict[str, Any], sentence: str) -> None:
    pq.write_table(pa.table(columns), files / f"{name}.parquet")
    said = run(f"data.train={name}.parquet")
    assert sentence in said.err
    assert said.code == 3


def test_a_client_without_enough_rows(run: Callable[..., Any], files: Path) -> None:
    (files / "sites").mkdir(exist_ok=True)
    save_text(files / "sites" / "berlin.csv", 12)
    save_text(files / "sites" / "paris.csv", 1)
    said = run("data={sites: sites, test: test.csv, text: note, label: outcome, held_out: 0.2}")
    assert "client paris has 1 of the 2 rows it needs to train and hold one out" in said.err
    assert said.code == 3


def test_contradicting_data_options_are_a_configuration_error(run: Callable[..., Any]) -> None:
    said = run("data.image=x")
    assert ": data: give one input column, either 'text' or 'image'" in said.err
    assert said.code == 2


class TestModelFolders:
    """Folders that are not what the configuration needs."""

    @pytest.mark.parametrize(
        ("missing", "sentence"),
        [
            ("config.json", "model folder '{folder}' has no config.json"),
            ("model.safetensors", "model folder '{folder}' has no model.safetensors"),
            ("tokenizer.json", "model folder '{folder}' has no tokenizer"),
        ],
    )
    def test_a_missing_file(self, run: Callable[..., Any], files: Path, missing: str, sentence: str) -> None:
        folder = files / f"without-{missing}"
        shutil.copytree(files / "bert", folder, ignore=shutil.ignore_patterns(missing, "tokenizer_config.json"))
        said = run(f"model.path={folder}")
        assert f"model.path: {sentence.format(folder=folder)}" in said.err
        assert said.code == 2

    def test_a_head_of_the_wrong_size(self, run: Callable[..., Any], files: Path) -> None:
        config = json.loads((files / "bert" / "config.json").read_text())
        from safetensors.torch import load_file, save_file
        from torch import zeros

        folder = files / "five"
        shutil.copytree(files / "bert", folder)
        (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
        tensors = {f"bert.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
        head = {"classifier.weight": zeros(5, 16), "classifier.bias": zeros(5)}
        save_file({**tensors, **head}, folder / "model.safetensors", metadata={"format": "pt"})
        said = run(f"model.path={folder}")
        assert f"the head in '{folder}' has 5 labels, but the data have 2; set model.head: new" in said.err
        assert said.code == 2

    def test_no_head_to_keep(self, run: Callable[..., Any]) -> None:
        said = run("model.head=keep")
        assert "has no classification head to keep; set model.head: new" in said.err
        assert said.code == 2

    def test_a_layer_that_does_not_exist(self, run: Callable[..., Any]) -> None:
        said = run("model.candidates=last:9")
        assert "override 'model.candidates=last:9': model.candidates: 'last:9' asks for 9 layers" in said.err
        assert said.code == 2


def test_a_loss_that_is_not_a_number_ends_the_run_with_4_and_a_readable_folder(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    train = {"rounds": 3, "steps": 2, "batch_size": 8, "lr": 1e38, "optimizer": "sgd"}
    write_config(tmp_path / "c.yaml", digits(Path("out"), train=train))
    said = cli("run", "c.yaml")
    assert said.code == 4
    last = said.err.splitlines()[-1]
    assert "lower train.lr" in last
    assert "set train.clip_norm" in last
    assert "Traceback" not in said.err
    events = RunFolder(tmp_path / "out").read()
    assert [e["event"] for e in events] == ["run", "baseline", *["abandoned"] * 3, "end"]
    assert all(set(e["failures"].values()) == {"NONFINITE"} for e in events[2:-1])
    assert (events[-1]["state"], f"fedstrata: {events[-1]['message']}") == ("failed", last)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["state"], summary["rounds"], summary["final"]["round"]) == ("failed", 0, 0)
    assert not (tmp_path / "out" / "model").exists()


class TestResume:
    """What cannot be resumed."""

    def test_no_folder(self, cli: Callable[..., Any]) -> None:
        said = cli("resume", "out")
        assert said.err == "fedstrata: there is no run folder out\n"
        assert said.code == 4

    def test_a_folder_that_is_no_run(self, cli: Callable[..., Any], tmp_path: Path) -> None:
        said = cli("resume", str(tmp_path))
        assert said.err == f"fedstrata: {tmp_path} is not a run folder: it has no config.resolved.yaml\n"
        assert said.code == 4

    def test_a_finished_run_and_a_misspelt_one(self, cli: Callable[..., Any], tmp_path: Path) -> None:
        train = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
        write_config(tmp_path / "c.yaml", digits(tmp_path / "run", train=train))
        assert cli("run", "c.yaml", "--quiet").code == 0
        said = cli("resume", str(tmp_path / "run"))
        assert f"{tmp_path / 'run'} has finished; its model is in {tmp_path / 'run' / 'model'}" in said.err
        assert said.code == 4
        assert f"did you mean '{tmp_path / 'run'}'?" in cli("resume", str(tmp_path / "rnu")).err
