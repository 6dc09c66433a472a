"""CSV and TSV by Python's ``csv``: every value a text, every row as wide as the header, or the line is named."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedstrata.data.find_sources import Source
from fedstrata.data.readers.dialect import SEPARATORS, Dialect, encoding_of, undecodable
from fedstrata.data.readers.raw_table import Sheet, no_column
from fedstrata.errors import DataError

_FIELD = 1 << 26
"""Most characters of a value; an open quote would otherwise swallow a file of any size."""
_NAMES = {"\t": "tab"}


def read_delimited(source: Source, wanted: Sequence[str], dialect: Dialect) -> Sheet:
    """Return the wanted columns; an empty field is ``None``.

    Args:
        source: The file.
        wanted: Names of columns.
        dialect: What the configuration says of text files.

    Raises:
        DataError: The file is of another encoding, a column is missing or there twice, or a line has more or fewer
            fields than the header.

    Example:
        See ``tests/data/readers/test_delimited.py``.
    """
    encoding = encoding_of(source.path, source.shown, dialect)
    with _long_fields():
        try:
            skip, separator, header = _header(source, wanted, dialect, encoding)
            stripped = [name.strip() for name in header]
            places = [_place(source, name, stripped, separator) for name in wanted]
            columns: list[list[str | None]] = [[] for _ in wanted]
            for row in _rows(source, encoding, separator, skip, len(header)):
                for column, place in zip(columns, places, strict=True):
                    column.append(row[place] or None)
        except UnicodeError as error:
            raise undecodable(source.path, source.shown, encoding) from error
    notes = []
    if separator != _usual(source):
        notes.append(f"{source.shown} is separated by {_shown(separator)}")
    if any(header[place] != stripped[place] for place in places):
        notes.append(f"blanks around the column names of {source.shown} are left out")
    return Sheet(dict(zip(wanted, columns, strict=True)), typed=False, notes=tuple(notes))


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _usual(source: Source) -> str:
    return "\t" if source.path.suffix.lower() == ".tsv" else ","


def _header(source: Source, wanted: Sequence[str], dialect: Dialect, encoding: str) -> tuple[int, str, list[str]]:
    """Return lines before the header (Excel's ``sep=;``), the separator, and the names of the columns.

    A separator that is not named is the first one with which the header has every wanted column, the usual one of the
    file's ending before others.
    """
    with source.path.open(encoding=encoding, newline="") as file:
        first = file.readline(_FIELD)
    said = first.strip().removeprefix("sep=") if first.startswith("sep=") else ""
    skip = 1 if len(said) == 1 or first.strip("\r\n") == "sep=\t" else 0
    named = dialect.separator or (first.strip("\r\n")[4:] if skip else None)
    usual = _usual(source)
    tried = [named] if named else [usual, *(s for s in SEPARATORS if s != usual)]
    headers = [_first_row(source.path, encoding, separator, skip) for separator in tried]
    if not any(headers):
        raise DataError(f"{source.shown} has no rows; fill it or leave it out")
    for separator, header in zip(tried, headers, strict=True):
        if set(wanted) <= {name.strip() for name in header}:
            return skip, separator, header
    best = max(range(len(tried)), key=lambda i: (_found(headers[i], wanted), len(headers[i]), -i))
    return skip, tried[best], headers[best]


def _found(header: Sequence[str], wanted: Sequence[str]) -> int:
    return len(set(wanted) & {name.strip() for name in header})


def _first_row(path: Path, encoding: str, separator: str, skip: int) -> list[str]:
    with path.open(encoding=encoding, newline="") as file:
        for _ in range(skip):
            file.readline()
        try:
            return next((row for row in csv.reader(file, delimiter=separator) if row), [])
        except csv.Error:
            return []


def _place(source: Source, name: str, header: Sequence[str], separator: str) -> int:
    count = Counter(header)[name]
    if count == 1:
        return header.index(name)
    how = f", separated by {_shown(separator)}"
    if not count:
        raise no_column(source.shown, name, header, how)
    raise DataError(f"{source.shown} has {count} columns called '{name}'; rename all but the one to read")


def _rows(source: Source, encoding: str, separator: str, skip: int, width: int) -> Iterator[list[str]]:
    with source.path.open(encoding=encoding, newline="") as file:
        for _ in range(skip):
            file.readline()
        reader = csv.reader(file, delimiter=separator, strict=True)
        begins, header = 1 + skip, True
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(_malformed(source, begins, str(error))) from error
            if header:
                header = not row
            elif row:
                if len(row) < width or any(row[width:]):  # empty fields at the end shift nothing
                    raise DataError(_ragged(source, begins, len(row), width, separator))
                yield row
            begins = reader.line_num + 1 + skip


def _malformed(source: Source, line: int, cause: str) -> str:
    if "unexpected end" in cause or "field larger" in cause:
        return f"{source.shown} line {line}: a quote opens in this row and is never closed; close it, or double it"
    if "expected after" in cause:
        return f"{source.shown} line {line}: text follows a closing quote; double the quotes inside a quoted value"
    return f"{source.shown} line {line} cannot be read as CSV: {cause}"


def _ragged(source: Source, line: int, fields: int, width: int, separator: str) -> str:
    return (
        f"{source.shown} line {line} has {fields} fields where the header has {width} (separated by"
        f" {_shown(separator)}); put values that hold the separator in quotes, or set data.separator"
    )


def _shown(separator: str) -> str:
    return _NAMES.get(separator, f"'{separator}'")
