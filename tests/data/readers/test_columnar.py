from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from fedstrata.data.find_sources import find
from fedstrata.data.read_options import Columns
from fedstrata.data.readers import columnar
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.readers.raw_table import Sheet
from fedstrata.data.readers.source import read_sheet
from fedstrata.errors import DataError

LONG = "x" * 20_000


def _sheet(folder: Path, columns: Columns = Columns(text="text")) -> Sheet:  # noqa: B008  a frozen value
    return read_sheet(find("rows.parquet", folder)[0], columns, folder / "cache", Dialect())


def _write(folder: Path, **options: object) -> None:
    rows = pa.table({"text": [LONG] * 500, "label": [0, 1] * 250, "other": [LONG * 2] * 500})
    pq.write_table(rows, folder / "rows.parquet", **options)


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_small_file_that_holds_more_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    _write(tmp_path, use_dictionary=dictionary, compression="zstd")
    assert (tmp_path / "rows.parquet").stat().st_size < 50_000
    monkeypatch.setattr(columnar, "free_memory", lambda: 15_000_000)
    with pytest.raises(
        DataError, match=r"rows.parquet is a file of 0.0 MB whose columns text and label hold 0.0 GB or"
    ):
        _sheet(tmp_path)
    monkeypatch.setattr(columnar, "free_memory", lambda: 45_000_000)
    assert len(_sheet(tmp_path).columns["text"]) == 500


def test_what_is_not_asked_for_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path)
    monkeypatch.setattr(columnar, "free_memory", lambda: 45_000_000)  # the other column has 20 MB
    assert set(_sheet(tmp_path).columns) == {"text", "label"}


def test_memory_that_runs_out_all_the_same_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise MemoryError

    _write(tmp_path)
    monkeypatch.setattr(columnar, "_weighed", full)
    with pytest.raises(DataError, match=r"rows.parquet does not fit into memory; write fewer rows"):
        _sheet(tmp_path)


def test_images_have_the_room_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    column = pa.array([{"bytes": b"x" * 1000, "path": None}] * 50)
    pq.write_table(pa.table({"image": column, "label": [0] * 50}), tmp_path / "rows.parquet")
    monkeypatch.setattr(columnar, "free_memory", lambda: 1)
    images = _sheet(tmp_path, Columns(image="image")).columns["image"]
    assert images[49] == {"bytes": b"x" * 1000, "path": None}


def test_a_missing_column_lists_those_that_are_there(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(DataError, match=r"rows.parquet has no column 'zzz'; its columns: text, label, other"):
        _sheet(tmp_path, Columns(text="zzz"))


def test_a_process_may_be_allowed_less_than_is_free() -> None:
    assert columnar.free_memory() > 1_000_000


def test_a_cache_that_is_no_folder_costs_the_cache_and_not_the_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path)
    (tmp_path / "cache").write_text("no folder")
    assert len(_sheet(tmp_path).columns["text"]) == 500
    assert f"the cache {tmp_path / 'cache'} cannot be used (Not a directory): rows are prepared anew" in caplog.text


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_full_cache_costs_the_cache_and_not_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrapped: bool
) -> None:
    _write(tmp_path)
    by_way_of = columnar._by_way_of

    def full(cache: Path, *rest: Any) -> Dataset:  # noqa: ANN401  as the real one takes
        if cache != tmp_path / "cache":
            return by_way_of(cache, *rest)
        error = OSError(errno.ENOSPC, "No space left on device")
        if wrapped:
            raise DatasetGenerationError("An error occurred") from error
        raise error

    monkeypatch.setattr(columnar, "_by_way_of", full)
    assert len(_sheet(tmp_path).columns["text"]) == 500
    assert "cannot be used (No space left on device)" in caplog.text


@pytest.mark.parametrize("name", ["os:system", "s3:b", "file:x", "hf:", "[ab]*?", "a b%20#"])
def test_a_relative_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    folder.mkdir()
    with (folder / "rows.parquet").open("wb") as file:
        pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), file)
    assert _sheet(folder).columns["text"] == ["a", "b"]
