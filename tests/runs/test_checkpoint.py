"""Checkpoints: what is saved is what is read, and everything else is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.versions import Versions
from fedstrata.errors import CheckpointError
from fedstrata.runs import checkpoint
from fedstrata.runs.checkpoint import Place, clear, generations, load, save
from fedstrata.runs.state import Best, Measured, ServerState, StateVersions

W = TensorName("w")


def state(round: int = 3) -> ServerState:
    return ServerState(
        round=round,
        weights={W: torch.tensor([0.1, -0.0, 3e-39])},
        selector={"masks": {"a": [0, 2]}, "since": 1},
        aggregator=AggregatorState({W: torch.ones(3)}),
        versions=Versions.at({LayerName("h.0"): "cd"}, always=[]).sent([ClientId("a")]),
        best=Best(1, 0.5, 0.25, "held-out"),
        attempt=2,
        run="ab",
        piggybacked={
            ClientId("b"): Measured(2, 0.1 + 0.2, (1 / 3, 5e-324, -0.0)),
            ClientId("a"): Measured(2, 1e-300, ()),
        },
        states={ClientId("a"): StateVersions((2, 1), (0, 0)), ClientId("b"): StateVersions((1, 0))},
    )


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    path = save(state(), tmp_path, Place(77, "ef", 33, 5, {"torch": "2"}))
    read, place = load(path, state().weights, seed=5)
    assert place == Place(77, "ef", 33, 5, {"torch": "2"})
    assert read.weights[W].numpy().tobytes() == state().weights[W].numpy().tobytes()
    assert torch.equal(read.aggregator.tensors[W], torch.ones(3))
    for name in ("round", "selector", "versions", "best", "attempt", "run", "piggybacked", "states"):
        assert repr(getattr(read, name)) == repr(getattr(state(), name))  # minus zero and the order count


def test_the_last_two_stay_newest_first(tmp_path: Path) -> None:
    for round in (1, 2, 9, 10, 10000):
        save(state(round), tmp_path, Place(0, "", 0, 0))
    assert [p.name for p in generations(tmp_path)] == ["round-10000", "round-0010"]


def test_nothing_temporary_stays(tmp_path: Path) -> None:
    save(state(), tmp_path, Place(0, "", 0, 0))
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "aggregator.safetensors",
        "model.safetensors",
        "round-0003",
        "state.json",
    ]


def test_a_half_written_folder_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".round-0004.tmp").mkdir()
    assert generations(tmp_path) == []


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        ({TensorName("v"): torch.zeros(3)}, "belongs to another model: tensors differ, among them"),
        ({W: torch.zeros(4)}, r"w has shape \(3,\), the model has \(4,\)"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, expected: dict[TensorName, torch.Tensor], sentence: str) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 0))
    with pytest.raises(CheckpointError, match=sentence):
        load(path, expected, seed=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 9}, "it has schema 9 and this version reads 7; resume it with the fedstrata that wrote it"),
        ({"round": 4}, "state.json is not as it was written"),
    ],
)
def test_a_changed_state_is_refused(tmp_path: Path, change: dict[str, int], sentence: str) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 0))
    data = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(CheckpointError, match=sentence):
        load(path, state().weights, seed=0)


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", "null"])
def test_a_state_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 0))
    (path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(path, state().weights, seed=0)


@pytest.mark.parametrize(
    "stray",
    [
        "round-0002.bak",
        "round-2",
        "round-00002",
        "round-",
        "round-0002 (copy)",
        "round-\u0660\u0660\u0660\u0662",
        "notes",
    ],
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_what_is_none_of_ours_is_left_alone(tmp_path: Path, stray: str, as_folder: bool) -> None:
    path = tmp_path / stray
    path.mkdir() if as_folder else path.write_text("mine")
    for round in (1, 2, 3):
        save(state(round), tmp_path, Place(0, "", 0, 0))
    assert [p.name for p in generations(tmp_path)] == ["round-0003", "round-0002"]
    clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [stray]


def test_a_file_or_link_by_a_checkpoints_name_is_none(tmp_path: Path) -> None:
    save(state(3), tmp_path, Place(0, "", 0, 0))
    (tmp_path / "round-0004").write_text("mine")
    (tmp_path / "round-0005").symlink_to(tmp_path / "round-0003")
    assert [p.name for p in generations(tmp_path)] == ["round-0003"]


SPOILT = {
    "200,000 brackets": "[" * 200_000,
    "deep": '{"a":' * 500 + "1" + "}" * 500,
    "a number of 5,000 digits": '{"round": ' + "1" * 5000 + "}",
    "half a character": '{"run": "\\ud800"}',
    "no text": "\x00\udcff",
    "empty": "",
}


@pytest.mark.parametrize("text", SPOILT.values(), ids=SPOILT)
def test_a_state_that_no_reader_likes_is_refused_as_any_other(tmp_path: Path, text: str) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 5))
    (path / "state.json").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"round-0003 cannot be read: "):
        load(path, state().weights, seed=5)


@pytest.mark.parametrize("name", ["state.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_something_else_by_a_files_name_is_refused_and_never_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 5))
    (path / name).unlink()
    (path / name).mkdir() if kind == "folder" else os.mkfifo(path / name)
    with pytest.raises(CheckpointError, match=r"round-0003 cannot be read: "):
        load(path, state().weights, seed=5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("round", "3"),
        ("attempt", -1),
        ("log_bytes", None),
        ("piggybacked", []),
        ("states", {"a": {"newest": [1]}}),
        ("versions", {"a": 1}),
        ("best", 3),
        ("identity", 3),
    ],
)
def test_a_state_of_another_shape_is_refused_though_its_hash_is_right(tmp_path: Path, key: str, value: object) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 5))
    data = json.loads((path / "state.json").read_text())
    del data["sha256"]
    data[key] = value
    (path / "state.json").write_text(json.dumps({**data, "sha256": checkpoint._digest_of(data)}))
    with pytest.raises(CheckpointError, match=r"round-0003 is none that fedstrata writes: "):
        load(path, state().weights, seed=5)


@pytest.mark.parametrize("files", [3, {}, {"model.safetensors": 1}, {"../../secret": "0"}])
def test_a_state_that_names_other_files_reads_none_of_them(tmp_path: Path, files: object) -> None:
    path = save(state(), tmp_path, Place(0, "", 0, 5))
    data = json.loads((path / "state.json").read_text())
    del data["sha256"]
    data["files"] = files
    (path / "state.json").write_text(json.dumps({**data, "sha256": checkpoint._digest_of(data)}))
    with pytest.raises(CheckpointError):
        load(path, state().weights, seed=5)
