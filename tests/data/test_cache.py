from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fedstrata.assembly.loading import cache_folder
from fedstrata.data.cache import cached, write_float32
from fedstrata.errors import DataError


class Writer:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> Mapping[str, object]:
        self.calls += 1
        save_file({"x": torch.tensor([self.calls])}, path)
        return {"cut": 3}


def test_equal_keys_are_written_once(tmp_path: Path) -> None:
    writer = Writer()
    for _ in range(2):
        tensors, facts = cached(tmp_path, {"rows": "a"}, writer)
        assert tensors["x"].tolist() == [1]
        assert facts == {"cut": 3}
    assert writer.calls == 1


def test_another_key_is_written_anew(tmp_path: Path) -> None:
    writer = Writer()
    cached(tmp_path, {"rows": "a"}, writer)
    assert cached(tmp_path, {"rows": "b"}, writer)[0]["x"].tolist() == [2]


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    writer = Writer()
    cached(tmp_path, {"rows": "a"}, writer)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"half a file")
    assert cached(tmp_path, {"rows": "a"}, writer)[0]["x"].tolist() == [2]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> Mapping[str, object]:
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match=r"disk full"):
        cached(tmp_path, {"rows": "a"}, fail)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_holds_the_key(tmp_path: Path) -> None:
    cached(tmp_path, {"rows": "a"}, Writer())
    manifest = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert manifest["key"]["rows"] == "a"


def test_batches_make_one_safetensors_file(tmp_path: Path) -> None:
    whole = torch.rand(5, 3, 2)
    write_float32(tmp_path / "x.safetensors", "pixel_values", (5, 3, 2), [whole[:2], whole[2:]])
    assert torch.equal(load_file(tmp_path / "x.safetensors")["pixel_values"], whole)


def _a_file(folder: Path) -> None:
    folder.write_text("no folder")


def _below_a_file(folder: Path) -> None:
    folder.parent.rmdir()
    folder.parent.write_text("no folder")


@pytest.mark.parametrize(
    ("spoil", "why"), [(_a_file, "File exists"), (_below_a_file, "Not a directory")], ids=["a file", "below a file"]
)
def test_a_folder_that_is_none_costs_the_cache_and_not_the_run(
    tmp_path: Path, spoil: Callable[[Path], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "here" / "cache"
    folder.parent.mkdir()
    spoil(folder)
    writer = Writer()
    for expected in (1, 2):
        tensors, facts = cached(folder, {"rows": "a"}, writer)
        assert (tensors["x"].tolist(), facts) == ([expected], {"cut": 3})
    assert f"the cache {folder} cannot be used ({why}): rows are prepared anew each time" in caplog.text


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_folder_that_may_not_be_written_costs_the_cache_alone(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "touch", refuse)
    assert cached(tmp_path, {"rows": "a"}, Writer())[0]["x"].tolist() == [1]
    assert f"({os.strerror(number)})" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("No space left on device (os error 28)"),
    ],
    ids=["system", "safetensors"],
)
def test_a_full_folder_costs_the_cache_alone(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer()

    def write(path: Path) -> Mapping[str, object]:
        if path.parent == tmp_path:
            path.write_bytes(b"half")
            raise error
        return writer(path)

    assert cached(tmp_path, {"rows": "a"}, write)[0]["x"].tolist() == [1]
    assert "(No space left on device)" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_no_room_anywhere_is_said_with_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def full(_path: Path) -> Mapping[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"neither in the cache .* \(No space left on device\) nor in the folder"):
        cached(tmp_path, {"rows": "a"}, full)


def test_what_is_wrong_with_the_rows_is_not_put_down_to_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_path: Path) -> Mapping[str, object]:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", "cat.png")

    with pytest.raises(IsADirectoryError, match=r"cat\.png"):
        cached(tmp_path, {"rows": "a"}, broken)
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["[" * 200_000, "[]", "{}", '{"facts": 3}', "null", "\x00"])
def test_a_manifest_that_is_something_else_is_written_again(tmp_path: Path, text: str) -> None:
    writer = Writer()
    cached(tmp_path, {"rows": "a"}, writer)
    next(tmp_path.glob("*.json")).write_text(text)
    assert cached(tmp_path, {"rows": "a"}, writer)[0]["x"].tolist() == [2]


def test_an_entry_that_is_a_folder_costs_the_cache_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached(tmp_path, {"rows": "a"}, Writer())
    entry = next(tmp_path.glob("*.safetensors"))
    entry.unlink()
    entry.mkdir()
    assert cached(tmp_path, {"rows": "a"}, Writer())[0]["x"].tolist() == [1]
    assert "(Is a directory)" in caplog.text


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FEDSTRATA_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cached(cache_folder(), {"rows": "a"}, Writer())[0]["x"].tolist() == [1]
    assert "(Not a directory)" in caplog.text
