"""JSON that may be anything: its value, or one kind of error."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path

import pytest

from fedstrata.parsing import json_text
from fedstrata.parsing.bounded_files import UnreadableError
from fedstrata.parsing.json_text import MOST_DEPTH, json_value, read_json


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 200_000, "it holds more than 100 lists or mappings inside each other"),
        ('{"a":' * 101 + "1" + "}" * 101, "it holds more than 100 lists or mappings inside each other"),
        ("1" * 101, "it holds a number of 101 digits"),
        ("-" + "1" * 4000, "it holds a number of 4,001 digits"),
        ('"\\uD800"', "it holds half a surrogate pair"),
        ('{"\\udfff": 1}', "it holds half a surrogate pair"),
        ("{", "it is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("", "it is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\xff", "it is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_is_wrong_is_one_error(text: str | bytes, sentence: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        json_value(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "value",
    [{"a": [1, -2.5, None, True, "\U0001f600"]}, 10**99, [[]] * 500, "\ud83d"[:0]],
)
def test_what_is_right_is_read(value: object) -> None:
    text = json.dumps(value)
    assert json_value(text) == json_value(text.encode()) == value


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]'])
def test_a_key_that_stands_twice_is_refused_where_once_is_asked_for(text: str) -> None:
    assert json_value(text)
    with pytest.raises(UnreadableError, match="a key stands twice"):
        json_value(text, once=True)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_a_number_that_is_not_finite_is_refused_where_finite_ones_are_asked_for(number: str) -> None:
    assert not isfinite(json_value(f"[{number}]")[0])
    with pytest.raises(UnreadableError, match="a number in it is not finite"):
        json_value(f"[{number}]", finite=True)


def test_as_deep_as_is_allowed_is_read() -> None:
    text = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert json_value(text + " " * 3) == json.loads(text)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1}')
    assert read_json(file, most=8) == {"a": 1}
    with pytest.raises(UnreadableError, match="larger than"):
        read_json(file, most=7)


def test_a_file_of_countless_lists_is_refused_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_text, "MOST_INSIDE", 1000)
    (tmp_path / "state.json").write_text("[" + "[]," * 1000 + "{}]")
    with pytest.raises(UnreadableError, match="more than 1,000 lists or mappings"):
        read_json(tmp_path / "state.json")
