"""A damaged checkpoint is never taken for a sound one: refused by name, and the older one serves."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from faults.damage import (
    NEWEST_DAMAGES,
    flip,
    flips,
    older_schema,
    small_checkpoint,
    snapshot,
    swap,
    taken_for,
)
from faults.variants import VARIANTS, outcome, play
from fedstrata.errors import CheckpointError

FILES = ("aggregator.safetensors", "model.safetensors", "state.json")
SAVED_EACH_ROUND = VARIANTS["plain"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(play(tmp_path_factory.mktemp("whole"), SAVED_EACH_ROUND))


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was broken off in its last round, with two checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        return snapshot(tmp_path_factory.mktemp("left"), SAVED_EACH_ROUND, records=25, patch=patch)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path)
    seen: Counter[str] = Counter()
    for file, bit in flips(path, 1000):
        flip(file, bit)
        seen[taken_for(path)] += 1
        flip(file, bit)
    assert taken_for(path) == "the same"
    assert seen["refused"] > 950


def test_no_flipped_bit_of_a_tensor_file_goes_unnoticed(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path)
    for name in FILES[:2]:
        for bit in range((path / name).stat().st_size * 8):
            flip(path / name, bit)
            assert taken_for(path) == "refused"
            flip(path / name, bit)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_length_is_refused(tmp_path: Path, name: str) -> None:
    path = small_checkpoint(tmp_path)
    content = (path / name).read_bytes()
    for length in (*range(0, len(content), 64), len(content) - 1):
        (path / name).write_bytes(content[:length])
        assert taken_for(path) == "refused", length
    (path / name).write_bytes(content + b"\0")
    assert taken_for(path) == "refused"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    path = small_checkpoint(tmp_path)
    (path / name).unlink()
    assert taken_for(path) == "refused"


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_other_generation_is_refused(tmp_path: Path, name: str) -> None:
    older, newest = small_checkpoint(tmp_path, 2), small_checkpoint(tmp_path, 3)
    swap(older / name, newest / name)
    assert (taken_for(older, 2), taken_for(newest, 3)) == ("refused", "refused")


def test_an_older_schema_is_refused(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path)
    older_schema(path)
    assert taken_for(path) == "refused"


@pytest.mark.parametrize("damage", [d for d in NEWEST_DAMAGES if "swapped" not in d])
def test_the_older_checkpoint_serves_and_the_damaged_one_is_named(
    tmp_path: Path, left: Path, whole: dict[str, Any], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    older, newest = sorted((folder / "checkpoints").iterdir())
    NEWEST_DAMAGES[damage](newest, older)
    assert outcome(play(folder, SAVED_EACH_ROUND)) == whole
    assert f"checkpoint {newest} cannot be read" in caplog.text
    assert "trying the older one" in caplog.text


@pytest.mark.parametrize("damage", ["states swapped", "weights swapped"])
def test_without_any_sound_checkpoint_the_run_does_not_go_on(tmp_path: Path, left: Path, damage: str) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    older, newest = sorted((folder / "checkpoints").iterdir())
    NEWEST_DAMAGES[damage](newest, older)
    with pytest.raises(CheckpointError, match=rf"{newest.name} cannot be read.*{older.name} cannot be read") as error:
        play(folder, SAVED_EACH_ROUND)
    assert error.value.exit_code == 4


def test_folders_that_changed_places_are_replayed_to_the_same_bits(
    tmp_path: Path, left: Path, whole: dict[str, Any]
) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    swap(*sorted((folder / "checkpoints").iterdir()))
    assert outcome(play(folder, SAVED_EACH_ROUND)) == whole


def test_a_log_shorter_than_the_newest_checkpoint_says_is_an_error(tmp_path: Path, left: Path) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    os.truncate(folder / "events.jsonl", 100)
    with pytest.raises(CheckpointError, match=r"events\.jsonl has 100 bytes, the checkpoint expects \d+; it was cut"):
        play(folder, SAVED_EACH_ROUND)


def digit_changed(path: Path, *, at: int) -> None:
    """Change the first digit from a place on: the line stays JSON, and says something else."""
    data = bytearray(path.read_bytes())
    where = next(i for i in range(at, len(data)) if 48 <= data[i] < 57)
    data[where] += 1
    path.write_bytes(data)


def test_a_log_that_was_changed_behind_the_older_checkpoint_is_played_again_from_there(
    tmp_path: Path, left: Path, whole: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    older = min((folder / "checkpoints").iterdir()) / "state.json"
    digit_changed(folder / "events.jsonl", at=json.loads(older.read_text())["log_bytes"])
    assert outcome(play(folder, SAVED_EACH_ROUND)) == whole
    assert "events.jsonl is not as it was written; trying the older one" in caplog.text


def test_a_log_that_was_changed_before_both_checkpoints_is_an_error(tmp_path: Path, left: Path) -> None:
    folder = shutil.copytree(left, tmp_path / "run")
    digit_changed(folder / "events.jsonl", at=300)
    with pytest.raises(CheckpointError, match=r"events\.jsonl is not as it was written"):
        play(folder, SAVED_EACH_ROUND)
