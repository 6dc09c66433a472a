from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedstrata.data.find_sources import find
from fedstrata.data.images import Images
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.table import Table
from fedstrata.errors import DataError


def _read(folder: Path, *paths: str, image_folder: Path | None = None) -> Table:
    rows = "".join(json.dumps({"image": path, "label": "x"}) + "\n" for path in paths)
    (folder / "d").mkdir(exist_ok=True)
    (folder / "d/rows.jsonl").write_text(rows)
    return read(find("d/rows.jsonl", folder), Columns(image="image", image_folder=image_folder), folder / "cache")


def _save(path: Path, colour: int = 7, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), colour, dtype=np.uint8)).save(path, **options)  # type: ignore[arg-type]


def _opened(file: io.BytesIO) -> Image.Image:
    return Images(([{"bytes": file.getvalue(), "path": None}],), (Path(),), np.zeros((1, 2), dtype=np.int64)).open(0)


def test_a_path_out_of_the_folder_is_refused_with_its_row(tmp_path: Path) -> None:
    _save(tmp_path / "secret/1.png")
    _save(tmp_path / "d/1.png")
    for path in (str(tmp_path / "secret/1.png"), "../secret/1.png", "x/../../secret/1.png"):
        with pytest.raises(
            DataError, match=r"rows.jsonl row 1: column 'image' names .*, outside the folder of the rows"
        ):
            _read(tmp_path, "1.png", path)
    assert len(_read(tmp_path, "1.png", str(tmp_path / "d/1.png"))) == 2


def test_a_named_folder_is_where_paths_start_and_end(tmp_path: Path) -> None:
    _save(tmp_path / "scans/a/1.png", 9)
    table = _read(tmp_path, "a/1.png", image_folder=tmp_path / "scans")
    assert next(table.images()).getpixel((0, 0)) == 9
    with pytest.raises(DataError, match=r"outside the folder of the rows"):
        _read(tmp_path, "../d/rows.jsonl", image_folder=tmp_path / "scans")


def test_a_pipe_and_a_missing_image_are_named_with_their_row(tmp_path: Path) -> None:
    _save(tmp_path / "d/1.png")
    os.mkfifo(tmp_path / "d/2.png")
    for name in ("2.png", "3.png"):
        with pytest.raises(
            DataError, match=rf"rows.jsonl row 1: column 'image' names '{name}', and d/ has no such file"
        ):
            _read(tmp_path, "1.png", name)


def test_an_image_with_too_many_pixels_is_named_and_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path / "d/1.png")
    table = _read(tmp_path, "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)  # the image has 24
    with pytest.raises(DataError, match=r"rows.jsonl row 0: the image cannot be read \(.*decompression bomb"):
        next(table.images())


def test_a_large_image_below_the_bound_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path / "d/1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23)
    assert next(_read(tmp_path, "1.png").images()).size == (6, 4)


def test_a_file_that_another_program_would_have_to_draw_is_no_image(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, format="EPS")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/1.png").write_bytes(file.getvalue())
    with pytest.raises(DataError, match=r"rows.jsonl row 0: the image cannot be read"):
        next(_read(tmp_path, "1.png").images())


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
def test_a_cut_image_is_named(tmp_path: Path, form: str, cut: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format=form)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/1.png").write_bytes(file.getvalue()[: int(cut * len(file.getvalue()))])
    with pytest.raises(DataError, match=r"rows.jsonl row 0: the image cannot be read"):
        next(_read(tmp_path, "1.png").images())


def test_a_turned_photograph_is_upright() -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(file, format="JPEG", exif=exif)
    assert _opened(file).size == (4, 6)


def test_ink_and_palettes_keep_their_colours() -> None:
    ink, palette = io.BytesIO(), io.BytesIO()
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(ink, format="TIFF")
    Image.new("RGB", (4, 4), (200, 10, 60)).convert("P", palette=Image.Palette.ADAPTIVE).save(palette, format="PNG")
    assert _opened(ink).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert _opened(palette).convert("RGB").getpixel((0, 0)) == (200, 10, 60)


def test_an_image_that_changes_is_no_longer_the_same_row(tmp_path: Path) -> None:
    _save(tmp_path / "d/1.png", 7)
    first, again = _read(tmp_path, "1.png").fingerprint, _read(tmp_path, "1.png").fingerprint
    _save(tmp_path / "d/1.png", 8)
    os.utime(tmp_path / "d/1.png", ns=(1, 1))
    assert first == again != _read(tmp_path, "1.png").fingerprint


def test_a_copy_of_a_folder_is_the_same_rows(tmp_path: Path) -> None:
    _save(tmp_path / "pets/cat/1.png")
    shutil.copytree(tmp_path / "pets", tmp_path / "copy")
    prints = {read(find(n, tmp_path), Columns(image="image"), tmp_path / "c").fingerprint for n in ("pets", "copy")}
    assert len(prints) == 1


@pytest.mark.parametrize("value", [{"bytes": "abc"}, {"bytes": [1]}, {"path": 5}, {"bytes": None, "path": ["a"]}, [1]])
def test_an_object_that_is_no_image_is_an_error_with_its_row(tmp_path: Path, value: object) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": value, "label": "x"}) + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl row 0: column 'image' holds (dict|list), not images"):
        read(find("rows.jsonl", tmp_path), Columns(image="image"), tmp_path / "cache")


def test_an_object_without_image_is_a_row_without(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"image": {"other": 1}, "label": "x"}\n')
    with pytest.raises(DataError, match=r"no usable row .*1 with no image"):
        read(find("rows.jsonl", tmp_path), Columns(image="image"), tmp_path / "cache")


@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000])
def test_a_path_that_no_file_can_have_is_an_error_with_its_row(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"row 0: column 'image' names 'x.* and d/ has no such file"):
        _read(tmp_path, path)
