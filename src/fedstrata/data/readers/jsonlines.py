"""JSONL: one object per line, every value of the type that it has in its own row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fedstrata.data.find_sources import Source
from fedstrata.data.readers.dialect import Dialect, encoding_of, undecodable
from fedstrata.data.readers.raw_table import Sheet, no_column
from fedstrata.errors import DataError
from fedstrata.parsing.bounded_files import UnreadableError
from fedstrata.parsing.json_text import json_value


def read_jsonl(source: Source, wanted: Sequence[str], dialect: Dialect) -> Sheet:
    """Return the wanted columns; a value that a row lacks is ``None``.

    Args:
        source: The file: one object per line, or a list of objects.
        wanted: Names of columns.
        dialect: What the configuration says of text files.

    Raises:
        DataError: A line is no JSON object, or no row has a wanted column.

    Example:
        See ``tests/data/readers/test_jsonlines.py``.
    """
    encoding = encoding_of(source.path, source.shown, dialect)
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    known: dict[str, None] = {}
    rows = 0
    try:
        for rows, row in enumerate(_objects(source, encoding), start=1):  # noqa: B007  counted
            known.update(dict.fromkeys(row))
            for name, column in columns.items():
                column.append(row.get(name))
    except UnicodeError as error:
        raise undecodable(source.path, source.shown, encoding) from error
    if not rows:
        raise DataError(f"{source.shown} has no rows; fill it or leave it out")
    for name in wanted:
        if name not in known:
            raise no_column(source.shown, name, known)
    return Sheet(columns)


def _objects(source: Source, encoding: str) -> Iterator[dict[str, Any]]:
    with source.path.open(encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("["):
                yield from _listed(source, line + file.read())
                return
            yield _object(_parsed(source, f"line {number}", line), f"{source.shown} line {number}")


def _listed(source: Source, text: str) -> Iterator[dict[str, Any]]:
    values = _parsed(source, "from line 1", text)
    for number, value in enumerate(values):
        yield _object(value, f"{source.shown} row {number}")


def _parsed(source: Source, where: str, text: str) -> Any:  # noqa: ANN401  whatever the file holds
    try:
        return json_value(text)
    except UnreadableError as error:
        cause = str(error).split(": line")[0]
        raise DataError(
            f"{source.shown} {where} cannot be read: {cause}; write one object per line, such as"
            ' {"text": "good day", "label": "pos"}'
        ) from error


def _object(value: Any, place: str) -> dict[str, Any]:  # noqa: ANN401  whatever the file holds
    if not isinstance(value, dict):
        raise DataError(f"{place} holds {type(value).__name__}, not an object; write one object per line")
    return value
