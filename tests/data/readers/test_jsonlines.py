from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.data.find_sources import Source
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.readers.jsonlines import read_jsonl
from fedstrata.errors import DataError


def _columns(folder: Path, body: str | bytes) -> dict[str, list[Any]]:
    path = folder / "a.jsonl"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return {
        name: list(values) for name, values in read_jsonl(Source(path, "json"), ("t", "y"), Dialect()).columns.items()
    }


def test_every_value_keeps_the_type_of_its_own_row(tmp_path: Path) -> None:
    body = '{"t": "a \\" b", "y": 1}\n{"t": 12, "y": "1"}\n\n{"y": 2.5, "t": null}\n{"t": "2024-01-01", "y": true}\n'
    assert _columns(tmp_path, body) == {"t": ['a " b', 12, None, "2024-01-01"], "y": [1, "1", 2.5, True]}


def test_a_value_that_a_row_lacks_is_none_and_large_numbers_stay_whole(tmp_path: Path) -> None:
    assert _columns(tmp_path, '{"t": "a"}\n{"y": 12345678901234567890}')["y"] == [None, 12345678901234567890]


def test_a_list_of_objects_is_read_too(tmp_path: Path) -> None:
    assert _columns(tmp_path, '[{"t": "a", "y": 1},\n {"t": "b", "y": 2}]')["t"] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{'t': 1}", r"line 2 cannot be read: it is not JSON: Expecting property name"),
        ("a,b", r"line 2 cannot be read: it is not JSON: Expecting value"),
        ("[1]", r"line 2 holds list, not an object"),
        ("3", r"line 2 holds int, not an object"),
        ("[" * 100_000, r"line 2 cannot be read: it holds more than 100 lists"),
        ("9" * 5000, r"line 2 cannot be read: it .*number"),
        ('{"t": "\\ud800", "y": 1}', r"line 2 cannot be read: it holds half a surrogate pair"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"a.jsonl {said}"):
        _columns(tmp_path, '{"t": "a", "y": 1}\n' + line)


def test_a_missing_column_lists_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.jsonl has no column 'y'; its columns: t, label"):
        _columns(tmp_path, '{"t": "a"}\n{"label": 1}')


def test_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.jsonl line 1 is not utf-8"):
        _columns(tmp_path, '{"t": "é", "y": 1}'.encode("cp1252"))
    assert _columns(tmp_path, '{"t": "é", "y": 1}'.encode("utf-16"))["t"] == ["é"]
