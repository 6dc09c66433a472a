"""Reading of local Parquet, CSV, JSONL and image folders into one table, without the network."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedstrata.data.find_sources import Source
from fedstrata.data.images import Images, marks
from fedstrata.data.labels import Place, encode, label_names
from fedstrata.data.parts import Part, folder_of, usable
from fedstrata.data.read_options import Columns as Columns
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.readers.raw_table import Sheet
from fedstrata.data.readers.source import read_sheet
from fedstrata.data.table import Questions, Table, Texts
from fedstrata.errors import DataError

_AS_FOUND = Dialect()


def read(
    sources: Sequence[Source],
    columns: Columns,
    cache: Path,
    *,
    like: Table | None = None,
    names: Sequence[str] | None = None,
    dialect: Dialect = _AS_FOUND,
) -> Table:
    """Read sources into one table; rows without input, label, or a value to partition by are dropped and counted.

    Args:
        sources: In the order of their rows.
        columns: Which columns to read.
        cache: Folder for the Arrow files of ``datasets``.
        like: The training rows, whose labels these rows have to keep to.
        names: Names of the labels that the rows have to keep to, where they come from somebody else's rows: a number
            is then the name as which it is written.
        dialect: What the configuration says of text files.

    Raises:
        DataError: A file cannot be read, a column is missing or of the wrong type, or a label is not known.

    Example:
        See ``tests/data/test_read_sources.py``.
    """
    sheets = [read_sheet(source, columns, cache, dialect) for source in sources]
    shared = _shared(sheets, like, names)
    parts = [
        usable(source, columns, sheet, sheet.order or shared) for source, sheet in zip(sources, sheets, strict=True)
    ]
    where = np.array([(i, r) for i, part in enumerate(parts) for r in part.rows], dtype=np.int64).reshape(-1, 2)
    dropped = sum((part.dropped for part in parts), Counter[str]())
    if not len(where):
        reasons = ", ".join(f"{count:,} with {why}" for why, count in dropped.items()) or "it is empty"
        raise DataError(f"{parts[0].source.shown}: no usable row ({reasons}); repair its rows, or name other columns")
    found, inputs = _names(parts, columns, names or (like.names if like else shared)), _join(parts, columns, where)
    return Table(
        inputs=inputs,
        labels=encode(_labels(parts), found, _places(parts), column=columns.label),
        names=found,
        where=where,
        files=tuple(part.source.shown for part in parts),
        fingerprint=_fingerprint(inputs, parts),
        columns={name: tuple(v for p in parts for v in p.further[name]) for name in columns.further},
        sites=tuple(part.source.site for part in parts for _ in part.rows if part.source.site),
        dropped=dropped,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        declared=shared is not None,
    )


def _shared(sheets: Sequence[Sheet], like: Table | None, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names that numbers are indices of, in files that declare none; names of other files are never used."""
    if names is not None:
        return None
    if like is not None:
        return like.names if like.declared else None
    return next((sheet.order for sheet in sheets if sheet.order), None)


def _labels(parts: Sequence[Part]) -> list[str]:
    return [label for part in parts for label in part.labels]


def _places(parts: Sequence[Part]) -> Place:
    where = [(part.source.shown, row) for part in parts for row in part.rows]
    return lambda row: f"{where[row][0]} row {where[row][1]}"


def _names(parts: Sequence[Part], columns: Columns, known: Sequence[str] | None) -> tuple[str, ...]:
    if known is not None:
        return tuple(known)
    numbers = frozenset[str]().union(*(part.numbers for part in parts))
    return label_names(_labels(parts), numbers, _places(parts), column=columns.label)


def _join(parts: Sequence[Part], columns: Columns, where: NDArray[np.int64]) -> Texts | Images | Questions:
    if columns.question:
        return Questions(tuple(part.values[r] for part in parts for r in part.rows))
    if columns.text:
        return Texts(tuple(part.values[r] for part in parts for r in part.rows))
    folders = tuple(folder_of(part.source, columns) for part in parts)
    return Images(tuple(part.values for part in parts), folders, where)


def _fingerprint(inputs: Texts | Images | Questions, parts: Sequence[Part]) -> str:
    """Return a hash of what is prepared: the texts themselves, images by bytes, or by name, size and date."""
    digest = sha256(type(inputs).__name__.encode())
    if not isinstance(inputs, Images):
        for value in inputs.values:
            digest.update(json.dumps(value).encode() + b"\n")
        return digest.hexdigest()
    for part, folder in zip(parts, inputs.folders, strict=True):
        for held in part.held:
            digest.update(held if isinstance(held, bytes) else b"\0")
        digest.update(marks(folder, [held for held in part.held if isinstance(held, str)]).encode())
    return digest.hexdigest()
