from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedstrata.data.cache import cached, write_float32


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
