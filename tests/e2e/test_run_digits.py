"""``fedstrata run`` on the embedded digits: what a run leaves, and that it is the same again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from small_runs import after, digits, essence, events, resume, start

OPTIONS: dict[str, Any] = {"sampler": {"kind": "uniform", "clients_per_round": 2}, "seed": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with partial participation, played in one go."""
    folder = tmp_path_factory.mktemp("digits") / "whole"
    start(digits(folder, **OPTIONS))
    return folder


def test_everything_is_there(whole: Path) -> None:
    assert {p.name for p in whole.iterdir()} == {
        "config.resolved.yaml", "env.json", "data_card.json", "events.jsonl", "checkpoints",
        "metrics.csv", "selection.parquet", "summary.json", "model", "journal.jsonl", "inputs.json", "confusion.json",
    }  # fmt: skip
    assert {p.name for p in (whole / "model").iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "README.md",
    }  # fmt: skip


def test_nothing_in_the_run_folder_is_a_pickle(whole: Path) -> None:
    assert not [p for p in whole.rglob("*") if p.suffix in {".pt", ".pth", ".bin", ".pkl"}]


def test_the_model_holds_the_weights_of_the_last_checkpoint(whole: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(whole / "model").state_dict()
    trained = load_file(whole / "checkpoints" / "round-0002" / "model.safetensors")
    assert all(model[name].equal(tensor) for name, tensor in trained.items())


def test_the_card_says_what_the_model_is(whole: Path) -> None:
    card = (whole / "model" / "README.md").read_text()
    summary = json.loads((whole / "summary.json").read_text())
    for text in (
        "by **consensus**",
        f"weights after the last round (2): accuracy {summary['final']['accuracy']:.4f}, loss ",
        " on 298 test rows",
        "rounds: 2, seed: 3",
        "selectable layers: 6 (vit.layers.0 to vit.layers.5)",
        "trained by everyone: vit.layernorm, classifier",
        "budget: 1 layer per client and round",
        "clients: 3, training rows: ",
        "kind: consensus",
    ):
        assert text in card
    assert str(whole.parent) not in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"


def test_the_environment_and_the_data_are_on_record(whole: Path) -> None:
    env = json.loads((whole / "env.json").read_text())
    assert env["packages"]["torch"]
    assert (env["threads"], env["seed"]) == (1, 3)
    assert json.loads((whole / "data_card.json").read_text())["rows_kept"] == 899


def test_frozen_blocks_are_proved_not_to_have_moved(whole: Path) -> None:
    for e in events(whole, "round"):
        assert e["frozen_norms"] == {"vit.embeddings": 0.0}


def test_same_seed_same_bits(whole: Path, tmp_path: Path) -> None:
    start(digits(tmp_path / "again", **OPTIONS))
    assert essence(tmp_path / "again") == essence(whole)


def test_another_seed_differs(whole: Path, tmp_path: Path) -> None:
    start(digits(tmp_path / "other", **{**OPTIONS, "seed": 4}))
    assert essence(tmp_path / "other")["model"] != essence(whole)["model"]


def test_the_resolved_configuration_is_the_run(whole: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((whole / "config.resolved.yaml").read_text())
    start({**values, "output": str(tmp_path / "again")})
    assert essence(tmp_path / "again") == essence(whole)


def test_interrupted_and_resumed_it_is_the_same(whole: Path, tmp_path: Path) -> None:
    assert start(digits(tmp_path / "run", **OPTIONS), stop=after(1)).state == "interrupted"
    assert not (tmp_path / "run" / "model").exists()
    assert resume(tmp_path / "run").state == "finished"
    assert essence(tmp_path / "run") == essence(whole)


@pytest.mark.parametrize(
    "selector",
    [{"kind": "periodic", "every": 2, "inner": "independent"}, {"kind": "periodic", "every": 3, "inner": "random"}],
    ids=str,
)
def test_so_it_is_for_selectors_that_remember_or_draw(tmp_path: Path, selector: dict[str, Any]) -> None:
    options = {**OPTIONS, "selector": selector, "checkpoint": {"every": 2}}
    options["train"] = {"rounds": 3, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
    start(digits(tmp_path / "whole", **options))
    start(digits(tmp_path / "run", **options), stop=after(1))
    resume(tmp_path / "run")
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")


def test_choosing_a_score_changes_the_scores_that_selection_uses(whole: Path, tmp_path: Path) -> None:
    """The released code keeps measuring gradient norms whatever strategy is named."""
    tables = {"gradient-norm": [e["scores"] for e in events(whole, "client") if e["round"] == 1]}
    for kind in ("relative-gradient-norm", "signal-to-noise"):
        train = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
        start(digits(tmp_path / kind, **OPTIONS, score={"kind": kind}, train=train))
        tables[kind] = [e["scores"] for e in events(tmp_path / kind, "client")]
    assert all(len(t) == 2 and len(t[0]) == 6 for t in tables.values())
    values = list(tables.values())
    assert all(a != b for i, a in enumerate(values) for b in values[:i])


def test_selection_follows_the_score_that_was_chosen(tmp_path: Path) -> None:
    """With one layer per client and no consensus, each client trains its own best layer under that score."""
    for kind in ("gradient-norm", "signal-to-noise"):
        train = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
        start(digits(tmp_path / kind, selector="independent", score={"kind": kind}, train=train))
        for e in events(tmp_path / kind, "client"):
            assert e["mask"] == [max(range(6), key=lambda i: e["scores"][i])]
