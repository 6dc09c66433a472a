"""A run goes on with the rows, the tokenizer and the model that it began with, or says what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedstrata.assembly.inputs import INPUTS, Inputs, check_inputs, inputs_of
from fedstrata.assembly.output import begun
from fedstrata.assembly.run import reopen_run
from fedstrata.assembly.runtime import open_workplace
from fedstrata.errors import CheckpointError, DataError, ModelError
from fedstrata.runs.folder import RunFolder
from small_models import save_bert
from small_runs import after, digits, resume, start

NOTHING = Inputs(data={}, model={}, train={"a": "1", "b": "2"}, test={"rows": "3", "labels": "4"}, frozen={"stem": "5"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, rows, and a run of three rounds that stopped after the first."""
    folder = tmp_path_factory.mktemp("inputs")
    save_bert(folder / "bert")
    rows = [f"a good day {i},yes\na bad day {i},no" for i in range(8)]
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text("\n".join(["note,outcome", *rows]) + "\n")
    values = digits(
        folder / "run",
        model={"path": "bert"},
        data={
            "train": "train.csv",
            "test": "test.csv",
            "text": "note",
            "label": "outcome",
            "partition": {"kind": "iid", "clients": 2},
        },
        train={"rounds": 3, "steps": 1, "batch_size": 4},
    )
    start(values, stop=after(1), base=folder)
    return folder


def _swapped(path: Path) -> None:
    text = path.read_text().replace("yes", "#").replace("no\n", "yes\n").replace("#", "no")
    path.write_text(text)


def _setting(path: Path) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "model_max_length": 5}))


def _frozen(path: Path) -> None:
    tensors = load_file(path)
    name = next(name for name in tensors if "word_embeddings" in name)
    save_file({**tensors, name: torch.zeros_like(tensors[name])}, path, metadata={"format": "pt"})


@contextmanager
def changed(path: Path, change: Callable[[Path], object]) -> Iterator[None]:
    before = path.read_bytes()
    try:
        change(path)
        yield
    finally:
        path.write_bytes(before)


CASES: Mapping[str, tuple[str, Callable[[Path], None], type[Exception], str]] = {
    "labels of training rows": ("train.csv", _swapped, DataError, "the rows of client-00, client-01 are not those"),
    "labels of test rows": ("test.csv", _swapped, DataError, "the test rows are not those .*changed: test.csv"),
    "a tokenizer's setting": ("bert/tokenizer_config.json", _setting, ModelError, "has changed .*: tokenizer_config"),
    "frozen weights": ("bert/model.safetensors", _frozen, ModelError, "has changed .*: model.safetensors; put back"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_whose_inputs_changed_is_not_resumed(world: Path, case: str) -> None:
    file, change, error, message = CASES[case]
    with changed(world / file, change), pytest.raises(error, match=message):
        reopen_run(world / "run")


def test_with_the_same_inputs_it_goes_on_and_a_file_written_anew_is_the_same(world: Path) -> None:
    with changed(world / "train.csv", lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))):
        assert resume(world / "run", stop=after(1)).state == "interrupted"


def test_without_its_record_nobody_can_tell(world: Path) -> None:
    with changed(world / "run" / INPUTS, Path.unlink), pytest.raises(CheckpointError, match=r"inputs\.json is missing"):
        reopen_run(world / "run")


def test_a_record_that_holds_no_hashes_is_damaged_and_no_other_model(tmp_path: Path) -> None:
    parts: dict[str, dict[str, object]] = {field.name: {} for field in fields(Inputs)}
    (tmp_path / INPUTS).write_text(json.dumps({**parts, "model": {"config.json": 5}}))
    with pytest.raises(CheckpointError, match="no mapping of names to hashes; start a new run"):
        check_inputs(RunFolder(tmp_path), Inputs({}, {}, {}, {}, {}))


def test_a_checkpoint_belongs_to_its_inputs(world: Path) -> None:
    """Another record in the place of the run's own does not help: the checkpoint has its hash."""
    with changed(world / "test.csv", _swapped):

        def forged(path: Path) -> None:
            values = json.loads(path.read_text())
            loaded, _ = begun(world / "run")
            place = open_workplace(loaded)
            now = inputs_of(loaded, place.data, place.network.model, place.network.layers)
            path.write_text(json.dumps({**values, "test": now.test}))

        with changed(world / "run" / INPUTS, forged), pytest.raises(CheckpointError, match="other rows or another"):
            resume(world / "run")


def test_frozen_weights_of_a_function_and_a_missing_client_are_named(tmp_path: Path) -> None:
    (tmp_path / INPUTS).write_text(json.dumps({f: dict(getattr(NOTHING, f)) for f in Inputs.__dataclass_fields__}))
    folder = RunFolder(tmp_path)
    check_inputs(folder, NOTHING)
    with pytest.raises(ModelError, match=r"frozen weights .* began with: stem; put back"):
        check_inputs(folder, replace(NOTHING, frozen={"stem": "6"}))
    with pytest.raises(DataError, match=r"the rows of b .* \(their files have not changed"):
        check_inputs(folder, replace(NOTHING, train={"a": "1"}))
