"""The usable rows of one source: each with an input, a label, and a value of every column to partition by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedstrata.data.find_sources import Source
from fedstrata.data.images import content, strays
from fedstrata.data.labels import Place, numbers_in, read_labels
from fedstrata.data.questions import read_answers, read_questions
from fedstrata.data.read_options import Columns
from fedstrata.data.readers.raw_table import Sheet
from fedstrata.data.spelling import spelled
from fedstrata.errors import DataError
from fedstrata.files import too_long


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One source as it was read.

    Attributes:
        source: The file or folder.
        values: Texts, questions with their choices, or images, of all rows.
        rows: 0-based rows of the file that are usable.
        labels: The label of each usable row as it is spelled; a declared name where there are any.
        numbers: Labels that may be numbers.
        further: The values of further columns in one spelling, one per usable row.
        dropped: Number of unusable rows by reason.
        notes: What reading had to decide, one sentence each.
        held: What each usable row holds of an image: the hash of its bytes, or its path; nothing of other inputs.
    """

    source: Source
    values: Sequence[Any]
    rows: tuple[int, ...]
    labels: tuple[str, ...]
    numbers: frozenset[str]
    further: Mapping[str, tuple[str, ...]]
    dropped: Counter[str]
    notes: tuple[str, ...] = ()
    held: tuple[bytes | str, ...] = ()


def usable(source: Source, columns: Columns, sheet: Sheet, order: Sequence[str] | None) -> Part:
    """Return the usable rows of a sheet, and count the others.

    Args:
        source: Where the sheet is from.
        columns: What its columns are for.
        sheet: What was read.
        order: Names of the labels by index, where any are declared.

    Raises:
        DataError: A value is of the wrong type, with file, row and column.

    Example:
        See ``tests/data/test_read_sources.py``.
    """

    def place(row: int) -> str:
        return f"{source.shown} row {row}"

    images = (
        _images(sheet.columns[columns.image], columns.image, folder_of(source, columns), place) if columns.image else []
    )
    values, filled, given = _inputs_and_labels(sheet, columns, images, place)
    further = {name: _ids(sheet.columns[name], place, name) for name in columns.further}
    labels = read_labels(given, order, place, column=columns.label, typed=sheet.typed)
    dropped: Counter[str] = Counter()
    rows = []
    for row, label in enumerate(labels):
        if not filled[row]:
            dropped[f"no {columns.input}"] += 1
        elif label is None:
            dropped[f"no {columns.label}"] += 1
        elif lacking := [name for name, column in further.items() if column[row] is None]:
            dropped[f"no {lacking[0]}"] += 1
        else:
            rows.append(row)
    return Part(
        source,
        values,
        tuple(rows),
        tuple(str(labels[row]) for row in rows),
        frozenset(numbers_in([given[row] for row in rows], typed=sheet.typed)),
        {name: tuple(str(column[r]) for r in rows) for name, column in further.items()},
        dropped,
        sheet.notes,
        tuple(images[row] for row in rows) if images else (),
    )


def folder_of(source: Source, columns: Columns) -> Path:
    """Return the folder that paths of images start from."""
    if source.format == "imagefolder":
        return source.path
    return columns.image_folder or source.path.parent


def _inputs_and_labels(
    sheet: Sheet, columns: Columns, images: Sequence[bytes | str], place: Place
) -> tuple[Sequence[Any], Sequence[bool], Sequence[object]]:
    """Return the inputs, which of them are usable, and what the label column holds."""
    values, labels = sheet.columns[columns.input], sheet.columns[columns.label]
    if columns.choices is not None:
        names = (columns.input, columns.choices)
        questions, usable = read_questions(values, sheet.columns[columns.choices], place, columns=names)
        return questions, usable, read_answers(labels, questions, place, column=columns.label)
    if columns.text:
        return values, _texts(values, columns.text, place), labels
    return values, [bool(held) for held in images], labels


def _texts(values: Sequence[object], column: str, place: Place) -> list[bool]:
    for row, value in enumerate(values):
        if value is None:
            continue
        if not isinstance(value, str):
            raise DataError(
                f"{place(row)}: column '{column}' holds {type(value).__name__} ({str(value)[:40]}), not text; write it"
                " in quotes, remove the row, or name a text column"
            )
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise DataError(f"{place(row)}: the text of column '{column}' holds half of a character; repair the row")
    return [bool(value and str(value).strip()) for value in values]


def _images(values: Sequence[Any], column: str, folder: Path, place: Place) -> list[bytes | str]:
    """Return the hash of the bytes of each image, or its path; nothing where there is none.

    All are looked at in one pass, since a column on disk is slow to read row by row.
    """
    held: list[bytes | str] = []
    for row, value in enumerate(values):
        if not _may_be_image(value):
            raise DataError(
                f"{place(row)}: column '{column}' holds {type(value).__name__}, not images; name an image column"
            )
        data, path = content(value)
        held.append(sha256(data).digest() if data else path or "")
        if not data and path and strays(path, folder):
            raise DataError(
                f"{place(row)}: column '{column}' names '{path[:80]}', outside the folder of the rows; if that is"
                " meant, set data.image_folder to the folder that holds the images"
            )
        if not data and path and (too_long(folder / path) or not (folder / path).is_file()):
            raise DataError(
                f"{place(row)}: column '{column}' names '{path[:80]}', and {folder.name or '/'}/ has no such file;"
                " repair the row, or set data.image_folder to the folder that paths start from"
            )
    return held


def _may_be_image(value: object) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, str | None)
    return isinstance(value.get("bytes"), bytes | None) and isinstance(value.get("path"), str | None)


def _ids(values: Sequence[object], place: Place, column: str) -> list[str | None]:
    found = []
    for row, value in enumerate(values):
        try:
            found.append(spelled(value))
        except TypeError as error:
            raise DataError(f"{place(row)}: column '{column}' holds {error}; name a column of single values") from error
    return found
