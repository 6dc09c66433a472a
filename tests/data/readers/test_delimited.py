from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.data.find_sources import Source
from fedstrata.data.readers.delimited import read_delimited
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.readers.raw_table import Sheet
from fedstrata.errors import DataError

AS_FOUND = Dialect()
WANTED = ("text", "label")


def _sheet(folder: Path, body: str | bytes, name: str = "a.csv", dialect: Dialect = AS_FOUND) -> Sheet:
    path = folder / name
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return read_delimited(Source(path, "csv"), WANTED, dialect)


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_the_separator_is_found_by_the_wanted_columns_and_noted(tmp_path: Path, separator: str, shown: str) -> None:
    found = _sheet(tmp_path, f"label{separator}text\npos{separator}a, b, c\n")
    assert found.columns == {"text": ["a, b, c"], "label": ["pos"]}
    assert found.notes == (f"a.csv is separated by {shown}",)


def test_a_comma_among_names_does_not_mislead(tmp_path: Path) -> None:
    assert _sheet(tmp_path, "text;label;x,y\na;b;1,5\n").columns == {"text": ["a"], "label": ["b"]}


def test_a_named_separator_counts(tmp_path: Path) -> None:
    assert _sheet(tmp_path, "text:label\na,b:c\n", dialect=Dialect(":")).columns["text"] == ["a,b"]
    with pytest.raises(DataError, match=r"a.csv has no column 'text'; its columns, separated by ':': text,label"):
        _sheet(tmp_path, "text,label\na,b\n", dialect=Dialect(":"))


def test_a_tsv_may_hold_commas_all_the_same(tmp_path: Path) -> None:
    assert _sheet(tmp_path, "text\tlabel\na,b\tc\n", "a.tsv").notes == ()


def test_excels_first_line_names_the_separator(tmp_path: Path) -> None:
    found = _sheet(tmp_path, "sep=;\r\ntext;label\r\na;b\r\n")
    assert found.columns == {"text": ["a"], "label": ["b"]}
    with pytest.raises(DataError, match=r"a.csv line 4 has 1 fields"):
        _sheet(tmp_path, "sep=;\r\ntext;label\r\na;b\r\nc\r\n")


def test_blanks_around_names_of_columns_are_left_out_with_a_note(tmp_path: Path) -> None:
    found = _sheet(tmp_path, "text ; label\na;b\n")
    assert found.columns == {"text": ["a"], "label": ["b"]}
    assert found.notes[1] == "blanks around the column names of a.csv are left out"


def test_a_missing_column_lists_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'label'; did you mean 'labl'\? Its columns, .*';': text, labl, id"):
        _sheet(tmp_path, "text;labl;id\na;b;1\n")


def test_a_column_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv has 2 columns called 'label'; rename all but the one to read"):
        _sheet(tmp_path, "text,label,label \na,b,c\n")


@pytest.mark.parametrize(("row", "fields"), [("a", 1), ("a,b,c", 3), ("a, with a comma,b", 3)])
def test_a_ragged_row_is_named_by_its_line(tmp_path: Path, row: str, fields: int) -> None:
    with pytest.raises(DataError, match=rf"a.csv line 4 has {fields} fields where the header has 2 \(separated by ','"):
        _sheet(tmp_path, f'text,label\n"two\nlines",x\n{row}\n')


def test_empty_fields_at_the_end_and_empty_lines_shift_nothing(tmp_path: Path) -> None:
    assert _sheet(tmp_path, "text,label\n\na,b,,\n\n").columns == {"text": ["a"], "label": ["b"]}


def test_an_open_quote_is_named_by_the_line_where_it_opens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv line 3: a quote opens in this row and is never closed"):
        _sheet(tmp_path, 'text,label\na,b\n"c,d\ne,f\n')


def test_a_quote_inside_a_quoted_value_has_to_be_doubled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv line 2: text follows a closing quote; double the quotes"):
        _sheet(tmp_path, 'text,label\n"a" b,c\n')
    assert _sheet(tmp_path, 'text,label\n"a"" b",c\n').columns["text"] == ['a" b']


def test_every_value_stays_as_it_is_written(tmp_path: Path) -> None:
    values = ["0070", "1", "1.0", "NA", "null", "true", "2024-01-01", "1,5", "12345678901234567890", " x "]
    body = "text;label\n" + "".join(f"{value};0070\n" for value in values)
    found = _sheet(tmp_path, body)
    assert (found.columns["text"], set(found.columns["label"]), found.typed) == (values, {"0070"}, False)


def test_a_value_longer_than_pythons_own_limit_is_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert len(_sheet(tmp_path, f"text,label\n{'x' * 200_000},a\n").columns["text"][0]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    dialect = Dialect(encoding="cp1252" if encoding == "cp1252" else None)
    found = _sheet(tmp_path, "text,label\nun café,1\n".encode(encoding), dialect=dialect)
    assert found.columns["text"] == ["un café"]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"a.csv line 2 is not utf-8 \(byte 0xe9\); with data.encoding: cp1252 it reads"
    ):
        _sheet(tmp_path, "text,label\nun café,1\n".encode("cp1252"))


@pytest.mark.parametrize("body", ["\n\n", " ", "text,label\n"])
def test_a_file_without_rows_has_none(tmp_path: Path, body: str) -> None:
    try:
        assert _sheet(tmp_path, body).columns == {"text": [], "label": []}
    except DataError as error:
        assert "has no" in str(error)  # noqa: PT017  either is right


LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@given(
    rows=st.lists(st.tuples(LETTERS, LETTERS), max_size=6),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_pythons_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    separator: str,
    quoting: int,
    end: str,
    encoding: str,
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([WANTED, *rows])
    folder = tmp_path_factory.getbasetemp()
    found = _sheet(folder, file.getvalue().encode(encoding), "drawn.csv")
    assert list(zip(found.columns["text"], found.columns["label"], strict=True)) == [
        (text or None, label or None) for text, label in rows
    ]
