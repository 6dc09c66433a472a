from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.data.find_sources import find
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.readers.dialect import Dialect, encoding_of, undecodable
from fedstrata.errors import ConfigError, DataError

WORDS = "text,label\nun café noir,pos\n"


def _found(folder: Path, data: bytes, dialect: Dialect = Dialect()) -> str:  # noqa: B008  a frozen value
    (folder / "a.csv").write_bytes(data)
    return encoding_of(folder / "a.csv", "a.csv", dialect)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    data = WORDS.encode(encoding)
    assert data.decode(_found(tmp_path, data)) == WORDS


def test_a_named_encoding_counts(tmp_path: Path) -> None:
    assert _found(tmp_path, WORDS.encode("cp1252"), Dialect(encoding="windows-1252")) == "cp1252"


def test_utf_8_by_name_still_loses_its_mark(tmp_path: Path) -> None:
    data = WORDS.encode("utf-8-sig")
    assert data.decode(_found(tmp_path, data, Dialect(encoding="UTF8"))) == WORDS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_names_the_setting(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=rf"a.csv holds zero bytes, .* set data.encoding: {encoding}"):
        _found(tmp_path, WORDS.encode(encoding))


def test_bytes_that_are_not_utf_8_are_shown_as_what_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(WORDS.encode("cp1252"))
    said = str(undecodable(tmp_path / "a.csv", "a.csv", "utf-8"))
    assert said.startswith(
        "a.csv line 2 is not utf-8 (byte 0xe9); with data.encoding: cp1252 it reads '...un café noir"
    )


def test_bytes_that_fit_nothing_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n\x81\xff\n")
    assert str(undecodable(tmp_path / "a.csv", "a.csv", "utf-8")).startswith(
        "a.csv line 2 is not utf-8 (byte 0x81); set"
    )


def test_half_a_character_of_utf_16_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(WORDS.encode("utf-16") + b"x")
    assert str(undecodable(tmp_path / "a.csv", "a.csv", "utf-16")).startswith("a.csv is not utf-16; set data.encoding")


@pytest.mark.parametrize("name", ["utf-9", "base64", "rot13", "zip", "undefined", "a\0b"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"data: encoding '.*' is not known; give one such as utf-8, cp1252"):
        Dialect(encoding=name)


@pytest.mark.parametrize("separator", ["", ";;", '"', "\n"])
def test_a_separator_is_one_character(separator: str) -> None:
    with pytest.raises(ConfigError, match=r"data: separator is .*; give one character"):
        Dialect(separator)


def test_a_codec_that_names_no_byte_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"text,label\ncaf\xe9 \xff,a\n")
    with pytest.raises(DataError, match=r"rows.csv is not punycode; set data.encoding"):
        read(find("rows.csv", tmp_path), Columns(text="text"), tmp_path, dialect=Dialect(None, "punycode"))
