"""Files and folders that are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.files import new_folder, write_atomic


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    write_atomic(path, "new ä")
    assert path.read_text(encoding="utf-8") == "new ä"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a").exists()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x"]


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("old")
    with pytest.raises(KeyError), new_folder(tmp_path / "a") as folder:  # noqa: PT012
        (folder / "x").write_text("new")
        raise KeyError("stop")
    assert (tmp_path / "a" / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_an_earlier_crash_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").mkdir()
    (tmp_path / ".a.tmp" / "old").touch()
    with new_folder(tmp_path / "a") as folder:
        (folder / "x").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x"]
