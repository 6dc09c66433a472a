"""The layer cache: bounded, least recently used first, and never more than a transfer lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedstrata.deploy.site.cache import LayerCache
from waiting import HANG

A, B, C, D = ("abcd"[i] * 64 for i in range(4))


def used(cache: LayerCache, folder: Path, **times: int) -> None:
    """Set when each layer was used last."""
    for name, time in times.items():
        os.utime(folder / f"{name * 64}.safetensors", (time, time))


def test_a_layer_is_found_under_its_hash(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "layers", 100)
    assert (cache.get(A), cache.hashes()) == (None, frozenset())
    cache.put(A, b"one")
    assert LayerCache(tmp_path / "layers", 100).get(A) == b"one"
    assert cache.hashes() == {A}


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path, 100)
    for digest in (A, B, C):
        cache.put(digest, bytes(30))
    used(cache, tmp_path, a=1, b=2, c=3)
    cache.get(A)
    cache.put(D, bytes(40))
    assert cache.hashes() == {A, C, D}


def test_what_is_needed_goes_last(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path, 100)
    for digest in (A, B, C):
        cache.put(digest, bytes(30))
    used(cache, tmp_path, a=1, b=2, c=3)
    cache.put(D, bytes(60), needed={A, D})
    assert cache.hashes() == {A, D}
    cache.put(B, bytes(90), needed={A, B, D})  # the bound counts more than what is needed
    assert cache.hashes() == {B}


def test_a_layer_larger_than_the_cache_throws_nothing_out(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path, 100)
    cache.put(A, bytes(60))
    cache.put(B, bytes(101))
    assert cache.hashes() == {A}
    assert LayerCache(tmp_path / "none", 0).hashes() == frozenset()


def test_other_files_are_left_alone_and_old_drafts_are_not(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for name, age in (("old.draft", 1), ("new.draft", None)):
        (tmp_path / name).write_bytes(bytes(10))
        if age:
            os.utime(tmp_path / name, (age, age))
    LayerCache(tmp_path, 100).put(A, bytes(90))
    assert {p.name for p in tmp_path.iterdir()} == {"note.txt", "new.draft", f"{A}.safetensors"}


def test_a_hash_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no content hash"):
        LayerCache(tmp_path, 100).put("../../x", b"")


def test_a_cache_that_cannot_be_written_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "layers").write_text("in the way")
    cache = LayerCache(tmp_path / "layers", 100)
    for digest in (A, B):
        cache.put(digest, b"one")
        assert cache.get(digest) is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"the layer cache {tmp_path / 'layers'} cannot be written (")
    assert said.endswith("); layers are sent again instead")


def test_a_disk_that_fills_up_leaves_no_part_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fedstrata.deploy.site.cache.write_private", full)
    LayerCache(tmp_path, 100).put(A, b"one")
    assert list(tmp_path.iterdir()) == []
    assert "(No space left on device)" in caplog.text


def test_the_folder_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "layers", 100)
    cache.put(A, b"one")
    (tmp_path / "layers" / f"{A}.safetensors").unlink()
    (tmp_path / "layers").rmdir()
    assert (cache.get(A), cache.hashes()) == (None, frozenset())
    cache.drop(A)
    cache.put(A, b"two")
    assert cache.get(A) == b"two"


WRITER = """
import sys
from pathlib import Path
from fedstrata.deploy.site.cache import LayerCache
cache = LayerCache(Path(sys.argv[1]), 1000)
for turn in range(150):
    digest = f"{turn % 7:064x}"
    cache.put(digest, bytes([turn % 7]) * 300)
    found = cache.get(digest)
    assert found in (None, bytes([turn % 7]) * 300), found
"""


def test_two_processes_may_use_one_cache(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(2)]
    assert [writer.wait(HANG) for writer in writers] == [0, 0]
    assert not list(tmp_path.glob("*.draft"))
    assert len(list(tmp_path.iterdir())) <= 4  # three fit; each process looks for itself
