"""Which weights become a model, and what its card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForImageClassification

import fedstrata
from fedstrata.assembly.export_choice import best_weights
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config
from fedstrata.runs.folder import RunFolder
from small_runs import digits


def played(folder: Path, **sections: object) -> Path:
    fedstrata.run(digits(folder, **sections))
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds at a rate that spoils the model, so that the starting point is the best."""
    train = {"rounds": 2, "steps": 2, "batch_size": 8, "lr": 2.0, "clip_norm": 1.0}
    return played(tmp_path_factory.mktemp("both") / "run", export="both", train=train)


def test_the_cards_say_which_round_and_the_weights_are_its_own(both: Path) -> None:
    best = json.loads((both / "summary.json").read_text())["best"]
    after = f"after round {best['round']}" if best["round"] else "before any training"
    assert (
        f"- weights {after}, the best of all on the clients' held-out rows"
        in (both / "model-best/README.md").read_text()
    )
    assert "- weights after the last round (2): accuracy 0." in (both / "model/README.md").read_text()
    kept = best_weights(RunFolder(both)).load(best["round"])
    written = AutoModelForImageClassification.from_pretrained(both / "model-best").state_dict()
    assert all(bool((written[name] == tensor).all()) for name, tensor in kept.items())


def test_classes_are_counted_at_the_end(both: Path) -> None:
    found = json.loads((both / "confusion.json").read_text())
    summary = json.loads((both / "summary.json").read_text())
    rows = sum(count for _, _, count in found["counts"])
    right = sum(count for true, guess, count in found["counts"] if true == guess)
    assert (found["round"], len(found["labels"])) == (2, 10)
    assert right / rows == pytest.approx(summary["final"]["accuracy"])


def test_without_rows_to_choose_by_a_note_says_what_is_exported(tmp_path: Path) -> None:
    data = {"kind": "digits", "shift": "input", "held_out": 0, "partition": {"kind": "iid", "clients": 3}}
    notes = prepare_run(check_config(digits(tmp_path / "run", export="best", data=data))).notes
    assert any(note.startswith("export: best has no rows to choose a round by") for note in notes)
