"""Files of rows by the thousand: what an independent reader reads, and damage that may only end in an error of data."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedstrata.data.find_sources import Source, find
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.readers.delimited import read_delimited
from fedstrata.data.readers.dialect import Dialect
from fedstrata.errors import DataError

pytestmark = pytest.mark.soak
DRAWN, DAMAGED = 3000, 3000
SIGNS = [*"ab 1.0,;|\t\"'\n\\é\u2028漢", "NA", "0070", '""', "1e3"]
COLUMNS = Columns(text="text", natural_id="ward")


def _drawn(rng: random.Random) -> str:
    return "".join(rng.choices(SIGNS, k=rng.randrange(8)))


def test_csv_files_are_read_as_pandas_reads_them(tmp_path: Path) -> None:
    for seed in range(DRAWN):
        rng = random.Random(seed)
        rows = [(_drawn(rng), _drawn(rng)) for _ in range(rng.randrange(1, 6))]
        file, separator = io.StringIO(), rng.choice(",;\t|")
        writer = csv.writer(file, delimiter=separator, lineterminator=rng.choice(["\n", "\r\n"]), quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "label"), *rows])
        path = tmp_path / "a.csv"
        path.write_text(file.getvalue(), encoding="utf-8", newline="")
        theirs = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8")
        mine = read_delimited(Source(path, "csv"), ("text", "label"), Dialect()).columns
        for name in ("text", "label"):
            assert [value or "" for value in mine[name]] == theirs[name].tolist(), (seed, name)


def _rows() -> list[dict[str, object]]:
    return [{"text": f"day {i} é", "label": "ab"[i % 2], "ward": i % 3} for i in range(12)]


def _csv(path: Path) -> None:
    pd.DataFrame(_rows()).to_csv(path, index=False)


def _jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows()))


def _parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(_rows()), path)


@pytest.mark.parametrize(("ending", "write"), [("csv", _csv), ("jsonl", _jsonl), ("parquet", _parquet)])
def test_damaged_files_are_read_or_are_an_error_of_data(
    tmp_path: Path, ending: str, write: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path, found = tmp_path / f"a.{ending}", Counter[str]()
    write(path)
    whole = path.read_bytes()
    for seed in range(DAMAGED if ending != "parquet" else DAMAGED // 10):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            place, length = rng.randrange(len(data) - 3), rng.randrange(1, 3)
            moved = 0 if ending == "parquet" else rng.randrange(-1, 2)  # all of it would be out of place
            data[place : place + length] = rng.randbytes(length + moved)
        path.write_bytes(bytes(data))
        try:
            read(find(path.name, tmp_path), COLUMNS, tmp_path / "cache")
            found["read"] += 1
        except DataError as error:
            found["refused in one line" if "\n" not in str(error) else "refused"] += 1
    with capsys.disabled():
        print(f"\n{ending}: {dict(found)}")
    assert set(found) == {"read", "refused in one line"}


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9))
from fedstrata.data.find_sources import find
from fedstrata.data.read_sources import Columns, read
from fedstrata.errors import DataError
try:
    read(find(sys.argv[1], Path()), Columns(text="text"), Path(sys.argv[2]))
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_small_file_of_three_gigabytes_is_refused_in_a_process_of_three(tmp_path: Path, dictionary: bool) -> None:
    rows = pa.table({"text": ["x" * 3_000_000] * 1000, "label": ["a", "b"] * 500})
    pq.write_table(rows, tmp_path / "a.parquet", use_dictionary=dictionary, compression="zstd")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a.parquet"), str(tmp_path / "cache")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("a.parquet is a file of ")
    assert "GB or more; memory has room for " in said.stdout
