from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedstrata.data.find_sources import find
from fedstrata.data.image_folders import list_images
from fedstrata.data.read_sources import Columns, read
from fedstrata.errors import DataError


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root / "pets"


def _found(folder: Path) -> list[tuple[str, str]]:
    return [(label, path.name) for label, path in list_images(folder).images]


def test_hidden_files_and_folders_are_skipped_and_counted(tmp_path: Path) -> None:
    folder = _touch(
        tmp_path,
        "pets/cat/1.png",
        "pets/dog/2.JPG",
        "pets/.ipynb_checkpoints/x.png",
        "pets/dog/.ipynb_checkpoints/2-checkpoint.png",
        "pets/dog/._2.jpg",
        "pets/__MACOSX/dog/._2.jpg",
        "pets/readme.md",
        "pets/dog/Thumbs.db",
    )
    assert _found(folder) == [("cat", "1.png"), ("dog", "2.JPG")]
    table = read(find("pets", tmp_path), Columns(image="image"), tmp_path / "cache")
    assert table.names == ("cat", "dog")
    assert table.notes == (
        "pets/: not read are 3 hidden, 1 folders in class folders, 1 class folders without images, 2 other files",
    )


def test_images_deeper_than_a_class_are_refused(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "pets/cat/1.png", "pets/cat/patient7/2.png")
    with pytest.raises(DataError, match=r"pets/cat/patient7/2.png lies deeper .*'cat' or 'patient7'; move"):
        list_images(folder)


def test_images_beside_the_classes_are_refused(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "pets/cat/1.png", "pets/2.png")
    with pytest.raises(DataError, match=r"pets/2.png is an image beside the class folders; move it"):
        list_images(folder)


def test_a_pipe_and_a_dead_link_are_named_and_block_nothing(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "pets/cat/1.png")
    os.mkfifo(folder / "cat/2.png")
    with pytest.raises(DataError, match=r"pets/cat/2.png is no regular file \(a pipe"):
        list_images(folder)
    (folder / "cat/2.png").unlink()
    (folder / "cat/2.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"pets/cat/2.png is a link that leads nowhere"):
        list_images(folder)


def test_a_link_to_itself_and_a_link_to_the_folder_end(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "pets/cat/1.png")
    (folder / "loop").symlink_to("loop")
    assert _found(folder) == [("cat", "1.png")]
    (folder / "again").symlink_to(".")
    with pytest.raises(DataError, match=r"pets/again/cat/1.png lies deeper than class/image"):
        list_images(folder)


def test_a_linked_class_is_a_class(tmp_path: Path) -> None:
    _touch(tmp_path, "store/1.png")
    folder = _touch(tmp_path, "pets/dog/2.png")
    (folder / "cat").symlink_to(tmp_path / "store")
    assert _found(folder) == [("cat", "1.png"), ("dog", "2.png")]


def test_classes_may_be_numbers_and_letters_at_once(tmp_path: Path) -> None:
    _touch(tmp_path, "pets/10/1.png", "pets/9/1.png", "pets/A/1.png")
    assert read(find("pets", tmp_path), Columns(image="image"), tmp_path / "cache").names == ("10", "9", "A")
    (tmp_path / "pets/A/1.png").unlink()
    assert read(find("pets", tmp_path), Columns(image="image"), tmp_path / "cache").names == ("9", "10")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_a_data_file_that_is_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for pattern in (name, "."):
        with pytest.raises(DataError, match=rf"{name} is no regular file \(a pipe, socket or device\)"):
            find(pattern, tmp_path)


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"rows.csv is no regular file"):
        find("rows.csv", tmp_path)


def test_other_columns_than_image_and_label_are_not_there(tmp_path: Path) -> None:
    _touch(tmp_path, "pets/cat/1.png")
    with pytest.raises(DataError, match=r"pets/ has no column 'photo'; its columns: image, label"):
        read(find("pets", tmp_path), Columns(image="photo"), tmp_path / "cache")
