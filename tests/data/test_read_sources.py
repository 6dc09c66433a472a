from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedstrata.data.find_sources import find, find_sites
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.readers import source as reading
from fedstrata.data.table import Table
from fedstrata.errors import DataError

TEXT = Columns(text="note", label="outcome")


def _csv(folder: Path, body: str, name: str = "rows.csv") -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(body, encoding="utf-8")
    return name


def _read(folder: Path, name: str, columns: Columns = TEXT, like: Table | None = None) -> Table:
    return read(find(name, folder), columns, folder / "cache", like=like)


def _png(colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), colour, dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


def test_csv_with_named_labels(tmp_path: Path) -> None:
    table = _read(tmp_path, _csv(tmp_path, 'note,outcome\n"well, now",good\nbad day,bad\n'))
    assert table.texts() == ("well, now", "bad day")
    assert table.names == ("bad", "good")
    assert table.labels.tolist() == [1, 0]


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    table = _read(tmp_path, _csv(tmp_path, "note\toutcome\na, b\t1\nc\t0\n", "rows.tsv"))
    assert table.texts() == ("a, b", "c")


def test_csv_keeps_words_that_look_like_missing_values(tmp_path: Path) -> None:
    table = _read(tmp_path, _csv(tmp_path, "note,outcome\nNA,None\nnull,some\n"))
    assert table.texts() == ("NA", "null")
    assert table.names == ("None", "some")


def test_jsonl_with_numbers(tmp_path: Path) -> None:
    rows = [{"note": "a", "outcome": 2}, {"note": "b", "outcome": 0}]
    name = _csv(tmp_path, "\n".join(json.dumps(r) for r in rows), "rows.jsonl")
    table = _read(tmp_path, name)
    assert table.names == ("0", "2")
    assert table.labels.tolist() == [1, 0]


def test_label_names_beside_the_file_name_the_numbers(tmp_path: Path) -> None:
    _csv(tmp_path, json.dumps(["World", "Sports"]), "label_names.json")
    table = _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\nb,0\n"))
    assert table.names == ("World", "Sports")
    assert table.labels.tolist() == [1, 0]


def test_a_number_without_a_declared_name_is_an_error(tmp_path: Path) -> None:
    _csv(tmp_path, json.dumps(["World", "Sports"]), "label_names.json")
    with pytest.raises(DataError, match=r"rows.csv row 1: label 2 is outside 0..1"):
        _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\nb,2\n"))


def test_rows_without_text_or_label_are_dropped_and_counted(tmp_path: Path) -> None:
    table = _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\n,0\nc,\n   ,1\ne,0\n"))
    assert table.texts() == ("a", "e")
    assert table.labels.tolist() == [1, 0]
    assert dict(table.dropped) == {"no note": 2, "no outcome": 1}
    assert table.place(1) == "rows.csv row 4"


def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv: no usable row \(1 with no outcome\)"):
        _read(tmp_path, _csv(tmp_path, "note,outcome\na,\n"))


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv has no column 'outcome'; did you mean 'outcom'"):
        _read(tmp_path, _csv(tmp_path, "note,outcom\na,1\n"))


def test_a_numeric_text_column_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl row 0: column 'note' holds int \(1\), not text"):
        _read(tmp_path, _csv(tmp_path, '{"note": 1, "outcome": 1}', "rows.jsonl"))


def test_a_fractional_label_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv row 1: column 'outcome' holds 0.5"):
        _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\nb,0.5\n"))


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"rows.parquet cannot be read as parquet: ") as caught:
        _read(tmp_path, "rows.parquet")
    assert "\n" not in str(caught.value)


def test_test_rows_keep_to_the_training_labels(tmp_path: Path) -> None:
    train = _read(tmp_path, _csv(tmp_path, "note,outcome\na,good\nb,bad\n", "train.csv"))
    assert _read(tmp_path, _csv(tmp_path, "note,outcome\na,good\n"), like=train).labels.tolist() == [1]
    with pytest.raises(DataError, match=r"rows.csv row 0: column 'outcome' holds 'god', .*did you mean 'good'"):
        _read(tmp_path, _csv(tmp_path, "note,outcome\na,god\n"), like=train)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    _csv(tmp_path, "note,outcome\na,good\n", "d/1.csv")
    _csv(tmp_path, "note,outcome\nb,bad\nc,good\n", "d/2.csv")
    table = _read(tmp_path, "d/*.csv")
    assert table.texts() == ("a", "b", "c")
    assert table.place(2) == "2.csv row 1"


def test_sites_share_one_numbering_of_labels(tmp_path: Path) -> None:
    _csv(tmp_path, "note,outcome\na,good\n", "sites/x/train.csv")
    _csv(tmp_path, "note,outcome\nb,bad\n", "sites/y/train.csv")
    table = read(find_sites("sites", tmp_path), TEXT, tmp_path / "cache")
    assert table.names == ("bad", "good")
    assert table.labels.tolist() == [1, 0]
    assert table.sites == ("x", "y")


def test_a_row_without_natural_id_is_dropped(tmp_path: Path) -> None:
    columns = Columns(text="note", label="outcome", natural_id="ward")
    table = _read(tmp_path, _csv(tmp_path, "note,outcome,ward\na,1,3\nb,0,\nc,0,4\n"), columns)
    assert len(table) == 2
    assert dict(table.dropped) == {"no ward": 1}


def test_a_row_without_a_value_of_the_disjoint_column_is_dropped(tmp_path: Path) -> None:
    columns = Columns(text="note", label="outcome", natural_id="ward", disjoint="case")
    table = _read(tmp_path, _csv(tmp_path, "note,outcome,ward,case\na,1,3,7\nb,0,3,\nc,0,,9\n"), columns)
    assert len(table) == 1
    assert {name: [float(v) for v in values] for name, values in table.columns.items()} == {"ward": [3], "case": [7]}
    assert dict(table.dropped) == {"no ward": 1, "no case": 1}


def test_image_folder_labels_are_its_folder_names(tmp_path: Path) -> None:
    for name in ("pets/cat/1.png", "pets/dog/1.png", "pets/dog/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(_png(9))
    table = _read(tmp_path, "pets", Columns(image="image"))
    assert table.names == ("cat", "dog")
    assert table.labels.tolist() == [0, 1, 1]
    assert [image.size for image in table.images()] == [(4, 4)] * 3


def test_an_image_folder_with_one_class_keeps_its_label(tmp_path: Path) -> None:
    (tmp_path / "pets/cat").mkdir(parents=True)
    (tmp_path / "pets/cat/1.png").write_bytes(_png())
    assert _read(tmp_path, "pets", Columns(image="image")).names == ("cat",)


def test_image_paths_in_a_csv_start_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/1.png").write_bytes(_png(7))
    table = _read(tmp_path, _csv(tmp_path, "image,label\nscans/1.png,0\n"), Columns(image="image"))
    assert next(table.images()).getpixel((0, 0)) == 7


def test_a_damaged_image_is_named_with_its_row(tmp_path: Path) -> None:
    column = pa.array([{"bytes": b, "path": None} for b in (_png(), _png()[:40], b"")])
    pq.write_table(pa.table({"image": column, "label": [0, 1, 0]}), tmp_path / "rows.parquet")
    table = _read(tmp_path, "rows.parquet", Columns(image="image"))
    assert dict(table.dropped) == {"no image": 1}
    with pytest.raises(DataError, match=r"rows.parquet row 1: the image cannot be read"):
        list(table.images())


def test_a_text_column_is_not_taken_for_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv row 0: column 'n' names '4', and .* has no such file"):
        _read(tmp_path, _csv(tmp_path, "n,label\n4,0\n"), Columns(image="n"))


def test_texts_are_not_images_nor_images_texts(tmp_path: Path) -> None:
    table = _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\n"))
    with pytest.raises(DataError, match=r"rows.csv holds texts, not images"):
        next(table.images())


def test_a_fingerprint_follows_rows_and_column(tmp_path: Path) -> None:
    name = _csv(tmp_path, "note,other,outcome\na,x,1\nb,y,0\n")
    table, again = _read(tmp_path, name), _read(tmp_path, name)
    other = _read(tmp_path, name, Columns(text="other", label="outcome"))
    assert table.fingerprint == again.fingerprint != other.fingerprint
    assert table.take(np.array([1])).fingerprint != table.take(np.array([0])).fingerprint


def test_reading_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\n"))
    assert capsys.readouterr() == ("", "")


def test_a_copied_image_folder_is_read_from_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "a/cat").mkdir(parents=True)
    (tmp_path / "a/cat/1.png").write_bytes(_png(5))
    _read(tmp_path, "a", Columns(image="image"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # keeps names, sizes and dates
    shutil.rmtree(tmp_path / "a")
    table = _read(tmp_path, "b", Columns(image="image"))
    assert next(table.images()).getpixel((0, 0)) == 5


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    assert _read(tmp_path, _csv(tmp_path, "note,outcome\na,1\n")).texts() == ("a",)
    assert _read(tmp_path, _csv(tmp_path, "note,outcome\nb,1\n")).texts() == ("b",)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_without_rows_is_said_to_have_none(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"empty.{ending}"
    table = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())})
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text("text,label\n" if ending == "csv" else "")
    with pytest.raises(DataError, match=rf"empty.{ending} has no rows|empty.{ending}: no usable row"):
        read(find(str(path), tmp_path), Columns(text="text"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "text,label\n" + "a,1\n" * 2000), ("a.jsonl", "[" + '{"text":"a","label":1},' * 1999 + '{"text":"a"}]')],
)
def test_short_rows_count_for_the_memory_that_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(reading, "free_memory", lambda: 300_000)
    with pytest.raises(DataError, match=r"MB and about 2,00[01] rows, which may take 0\.0 GB of memory"):
        read(find(name, tmp_path), Columns(text="text"), tmp_path / "cache")
    monkeypatch.setattr(reading, "free_memory", lambda: 1_000_000)
    assert len(read(find(name, tmp_path), Columns(text="text"), tmp_path / "cache")) in (1999, 2000)
