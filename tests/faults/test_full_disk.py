"""A disk that fills up: one sentence, nothing lost, and the same bits once there is room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from commands import Said
from faults.full_disk import NO_SPACE, ROOMY, Room, disk, mount, pretend, watch
from faults.variants import VARIANTS, outcome, play, prepared
from fedstrata.errors import StorageError
from fedstrata.runs.checkpoint import generations, load
from fedstrata.wire.messages import Weights
from small_runs import digits, essence, write_config

KEPT = VARIANTS["kept"]
ADVICE = rf"{NO_SPACE}.*; make room, then go on with: fedstrata resume "
BYTES = 28_000
"""A little less than the run writes in all."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(play(tmp_path_factory.mktemp("whole"), KEPT))


def readable(folder: Path, weights: Weights) -> list[int]:
    """Return the rounds of the checkpoints, each of which has to be sound."""
    return [load(path, weights, seed=0)[0].round for path in generations(folder / "checkpoints")]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_disk_that_is_said_to_be_full_ends_the_run_with_advice_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], share: float
) -> None:
    run, weights = prepared(tmp_path, KEPT)
    room = Room(round(share * BYTES))
    with monkeypatch.context() as patch:
        pretend(patch, room)
        with pytest.raises(StorageError, match=ADVICE):
            run.start(weights)
    assert room.refused
    readable(tmp_path, weights)
    assert outcome(play(tmp_path, KEPT)) == whole


@pytest.mark.parametrize("name", ["journal", "event log", "accepted", "checkpoint weights", "selection.parquet"])
def test_a_disk_that_is_full_ends_the_run_with_advice_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], name: str
) -> None:
    with disk(tmp_path / "disk", ROOMY) as path, monkeypatch.context() as patch:
        seen = watch(patch, path)
        play(path / "roomy", KEPT)
    full_before = [w.before for w in seen if w.name == name][-1]
    with disk(tmp_path / "disk", full_before) as path:
        run, weights = prepared(path / "run", KEPT)
        with pytest.raises(StorageError, match=ADVICE):
            run.start(weights)
        readable(path / "run", weights)
        mount(path, ROOMY)
        assert outcome(play(path / "run", KEPT)) == whole


def test_a_folder_that_cannot_be_made_for_want_of_room_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Said]
) -> None:
    config = write_config(tmp_path / "run.yaml", digits(tmp_path / "run"))
    with monkeypatch.context() as patch:
        pretend(patch, Room(300))
        said = cli("run", str(config), "-q")
    assert said.code == 4
    assert said.err == (
        f"fedstrata: {tmp_path / 'run'} cannot be written: {NO_SPACE}; make room, delete the folder, and start again\n"
    )


def test_a_model_that_has_no_room_is_written_by_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Said]
) -> None:
    config = write_config(tmp_path / "run.yaml", digits(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", _full)
        said = cli("run", str(config), "-q")
    assert said.code == 4
    assert said.err == (
        f"fedstrata: the model cannot be written to {tmp_path / 'run' / 'model'}: Error while serializing: {NO_SPACE}; "
        f"make room, then write it with: fedstrata resume {tmp_path / 'run'}\n"
    )
    assert cli("resume", str(tmp_path / "run"), "-q").code == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["state"] == "finished"
    assert essence(tmp_path / "run")["model"]


def _full(*_args: object, **_options: object) -> None:
    from safetensors import SafetensorError

    raise SafetensorError(f"Error while serializing: {NO_SPACE}")


def test_trained_tensors_are_kept_where_the_model_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Said]
) -> None:
    def broken(self: object, folder: object, state_dict: object = None) -> None:
        if state_dict:
            raise ValueError("what transformers did not like")

    config = write_config(tmp_path / "run.yaml", digits(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", broken)
        said = cli("run", str(config), "-q")
    assert said.code == 4
    assert "model: ValueError: what transformers did not like; its trained tensors are in" in said.err
    assert f"write the model with: fedstrata resume {tmp_path / 'run'}" in said.err
    kept = load_file(tmp_path / "run" / "weights" / "model.safetensors")
    assert cli("resume", str(tmp_path / "run"), "-q").code == 0
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
    assert kept
    assert all(torch.equal(model.get_parameter(name), value) for name, value in kept.items())
    assert not (tmp_path / "run" / "weights").exists()


def test_a_disk_without_room_for_the_end_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Said]
) -> None:
    config = write_config(tmp_path / "run.yaml", digits(tmp_path / "run"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    said = cli("run", str(config))
    assert said.code == 0
    assert "note: the run writes about 2.4" in said.err
    assert " MB (its model and two checkpoints), and " in said.err
    assert " has 0.001 MB free; make room, or choose another output" in said.err
