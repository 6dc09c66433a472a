"""``fedstrata init``: a file that passes the check once it is filled in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedstrata.budgets.fixed import Fixed
from fedstrata.config.load import load_config
from fedstrata.selectors.consensus import Consensus
from small_models import save_bert, save_text


def test_the_file_passes_the_schema_check_as_it_is(cli: Callable[..., Any]) -> None:
    said = "then: fedstrata plan fedstrata.yaml, and: fedstrata run fedstrata.yaml"
    assert cli("init").out == f"wrote fedstrata.yaml: fill in model.path and data, {said}\n"
    loaded = load_config(Path("fedstrata.yaml"))
    assert (loaded.components.selector, loaded.components.budget) == (Consensus(rho=1.0), Fixed(layers=2))


def test_the_file_names_itself_in_the_command_that_runs_it(cli: Callable[..., Any]) -> None:
    cli("init", "mine.yaml")
    assert "fedstrata run mine.yaml" in Path("mine.yaml").read_text()


def test_filled_in_it_runs(cli: Callable[..., Any], tmp_path: Path) -> None:
    save_bert(tmp_path / "my-model")
    save_text(tmp_path / "train.parquet", 60, text="text", label="label")
    save_text(tmp_path / "test.parquet", 10, seed=1, text="text", label="label")
    cli("init")
    sets = ["train.rounds=1", "data.partition={kind: iid, clients: 3}", "output=out"]
    assert cli("run", "fedstrata.yaml", "-q", *(part for s in sets for part in ("--set", s))).code == 0
    assert (tmp_path / "out" / "model" / "tokenizer.json").is_file()


def test_its_settings_learn_within_three_rounds(cli: Callable[..., Any], tmp_path: Path) -> None:
    cli("init")
    text = Path("fedstrata.yaml").read_text()
    data = text[text.index("data:") : text.index("  partition:")]
    text = text.replace(data, "data:\n  kind: digits\n  shift: input\n")
    Path("fedstrata.yaml").write_text(text.replace("path: ./my-model", "path: embedded:vit-digits"))
    said = cli("run", "fedstrata.yaml", "--json", "-q", "--set", "train.rounds=3", "--set", "output=out")
    summary = json.loads(said.out)
    assert summary["final"]["accuracy"] > summary["baseline"]["accuracy"] + 0.15


def test_it_does_not_overwrite(cli: Callable[..., Any]) -> None:
    Path("fedstrata.yaml").write_text("mine")
    said = cli("init")
    assert said.err == "fedstrata: fedstrata.yaml exists; give another name, or --force to replace it\n"
    assert said.code == 2
    assert Path("fedstrata.yaml").read_text() == "mine"


def test_force_overwrites(cli: Callable[..., Any]) -> None:
    Path("fedstrata.yaml").write_text("mine")
    assert cli("init", "--force").code == 0
    assert "kind: consensus" in Path("fedstrata.yaml").read_text()


def test_a_folder_that_is_not_there(cli: Callable[..., Any]) -> None:
    said = cli("init", "no/such.yaml")
    assert said.err == "fedstrata: there is no folder no; make it first\n"
    assert said.code == 2
