"""Reading of local Parquet, CSV, JSONL and image folders through ``datasets``, without the network."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetGenerationError
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from datasets.packaged_modules.csv.csv import Csv
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from datasets.packaged_modules.json.json import Json
from datasets.packaged_modules.parquet.parquet import Parquet

from fedstrata.data.columns import Columns as Columns
from fedstrata.data.files import Source
from fedstrata.data.labels import Label, encode, label_names
from fedstrata.data.questions import POSITIONS, Question, read_answers, read_questions
from fedstrata.data.quiet import quiet
from fedstrata.data.table import Images, Questions, Table, Texts
from fedstrata.errors import DataError, nearest
from fedstrata.reading.json_text import read_json

READERS = {"parquet": Parquet, "csv": Csv, "json": Json, "imagefolder": ImageFolder}


_EMPTY = ("BatchSize must be greater than 0", "corresponds to no data", "EmptyDataError", "No columns to parse")
"""What the readers of ``datasets`` say of a file without rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One source as it was read: usable rows only, labels not yet numbered.

    Attributes:
        values: Texts, questions with their choices, or the ``datasets`` image column.
        rows: 0-based rows of the file that are usable.
        labels: One per usable row.
        order: Label names in order, where the file or a ``label_names.json`` beside it declares them.
        further: The values of further columns as text, one per usable row.
        dropped: Number of unusable rows by reason.
    """

    source: Source
    values: Any
    rows: tuple[int, ...]
    labels: tuple[Label, ...]
    order: tuple[str, ...] | None
    fingerprint: str
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


def read(
    sources: Sequence[Source],
    columns: Columns,
    cache: Path,
    *,
    names: tuple[str, ...] | None = None,
    by_name: bool = False,
) -> Table:
    """Read sources into one table; rows without input, label, or a value to partition by are dropped and counted.

    Args:
        sources: In the order of their rows.
        columns: Which columns to read.
        cache: Folder for the Arrow files of ``datasets``.
        names: Label names that the rows have to keep to (those of the training rows); by default taken from
            the sources.
        by_name: A number is the name as which it is written, and not the index of a name: for ``names`` that come
            from somebody else's rows.

    Raises:
        DataError: A file cannot be read, a column is missing or of the wrong type, or a label is out of range.

    Example:
        See ``tests/data/test_sources.py``.
    """
    parts = [_read_part(source, columns, cache) for source in sources]
    files = tuple(part.source.shown for part in parts)
    where = np.array([(i, r) for i, part in enumerate(parts) for r in part.rows], dtype=np.int64).reshape(-1, 2)
    if not len(where):
        raise DataError(f"{files[0]}: no usable row (dropped: {dict(sum((p.dropped for p in parts), Counter()))})")
    labels = [label for part in parts for label in part.labels]
    place = [f"{files[i]} row {r}" for i, r in where]
    if names is None:
        names = label_names(labels, [part.order for part in parts], place)
    marks = [f"{p.fingerprint} {p.rows}" for p in parts]
    return Table(
        inputs=_join(parts, columns, where),
        labels=encode(labels, names, place, by_name=by_name),
        names=names,
        where=where,
        files=files,
        fingerprint=sha256("\n".join([*columns.inputs, *marks]).encode()).hexdigest(),
        columns={name: tuple(v for p in parts for v in p.further[name]) for name in columns.further},
        sites=tuple(part.source.site for part in parts for _ in part.rows if part.source.site),
        dropped=sum((p.dropped for p in parts), Counter[str]()),
    )


def _join(
    parts: Sequence[Part], columns: Columns, where: np.ndarray[Any, np.dtype[np.int64]]
) -> Texts | Images | Questions:
    if columns.question:
        return Questions(tuple(part.values[r] for part in parts for r in part.rows))
    if columns.text:
        return Texts(tuple(part.values[r] for part in parts for r in part.rows))
    folders = tuple(p.source.path if p.source.path.is_dir() else p.source.path.parent for p in parts)
    return Images(tuple(part.values for part in parts), folders, where)


def _open(source: Source, fingerprint: str, cache: Path) -> Dataset:
    if source.path.is_file() and not source.path.stat().st_size:
        raise DataError(f"{source.shown} has no rows; fill it or leave it out")
    files = [str(p) for p in source.images] or [str(source.path)]
    data = DataFilesDict({"train": DataFilesList(files, origin_metadata=[(fingerprint,)])})
    options: dict[str, object] = {}
    if source.format == "csv":
        tabs = source.path.suffix.lower() == ".tsv"
        options = {"sep": "\t" if tabs else ",", "keep_default_na": False, "na_values": [""]}
    if source.format == "imagefolder":
        options = {"drop_labels": False, "drop_metadata": True}
    with quiet(), warnings.catch_warnings():
        # ``datasets`` leaves the CSV file that it read to the garbage collector
        warnings.filterwarnings("ignore", message="unclosed file", category=ResourceWarning)
        try:
            builder = READERS[source.format](
                cache_dir=str(cache / "datasets"),
                data_files=data,
                hash=_PACKAGED_DATASETS_MODULES[source.format][1],
                **options,
            )
            builder.download_and_prepare()
            return builder.as_dataset(split="train")
        except (DatasetGenerationError, ValueError, OSError) as error:
            cause = str(error.__cause__ or error).split("\n")[0]
            if any(words in f"{error} {error.__cause__}" for words in _EMPTY):
                raise DataError(f"{source.shown} has no rows; fill it or leave it out") from error
            raise DataError(f"{source.shown} cannot be read as {source.format}: {cause}") from error


def _read_part(source: Source, columns: Columns, cache: Path) -> Part:
    fingerprint = source.fingerprint()
    data = _open(source, fingerprint, cache)
    for name in (*columns.inputs, columns.label, *columns.further):
        if name not in data.column_names:
            hint = nearest(name, data.column_names)
            raise DataError(f"{source.shown} has no column '{name}'; {hint}")
    values, usable, labels, order = _inputs_and_labels(data, columns, source)
    further = {name: data.data.column(name).to_pylist() for name in columns.further}
    dropped: Counter[str] = Counter()
    rows = []
    for row, label in enumerate(labels):
        if not usable[row]:
            dropped[f"no {columns.input}"] += 1
        elif label is None or label == "":
            dropped[f"no {columns.label}"] += 1
        elif lacking := [name for name, column in further.items() if column[row] in (None, "")]:
            dropped[f"no {lacking[0]}"] += 1
        else:
            rows.append(row)
    return Part(
        source,
        values,
        tuple(rows),
        tuple(label for label in (labels[r] for r in rows) if label is not None),
        order,
        fingerprint,
        {name: tuple(str(column[r]) for r in rows) for name, column in further.items()},
        dropped,
    )


def _inputs_and_labels(
    data: Dataset, columns: Columns, source: Source
) -> tuple[Any, list[bool], Sequence[Label | None], tuple[str, ...] | None]:
    """Return the inputs, which of them are usable, the labels, and names of labels where they are declared."""
    if columns.question is not None:
        return _questions(data, columns, source)
    values, usable = _texts(data, columns.text, source) if columns.text else _images(data, columns.input, source)
    return (values, usable, *_labels(data, columns.label, source))


def _questions(
    data: Dataset, columns: Columns, source: Source
) -> tuple[list[Question | None], list[bool], Sequence[Label | None], tuple[str, ...]]:
    def column(name: str) -> list[Any]:
        values: list[Any] = data.data.column(name).to_pylist()
        return values

    def place(row: int) -> str:
        return f"{source.shown} row {row}"

    question, choices = columns.inputs
    values, usable = read_questions(column(question), column(choices), place, columns=(question, choices))
    return values, usable, read_answers(column(columns.label), values, place, column=columns.label), POSITIONS


def _texts(data: Dataset, column: str, source: Source) -> tuple[list[str | None], list[bool]]:
    values = data.data.column(column).to_pylist()
    odd = next((i for i, v in enumerate(values) if v is not None and not isinstance(v, str)), None)
    if odd is not None:
        kind = type(values[odd]).__name__
        raise DataError(f"{source.shown} row {odd}: column '{column}' holds {kind}, not text; name a text column")
    return values, [bool(v and v.strip()) for v in values]


def _images(data: Dataset, column: str, source: Source) -> tuple[Any, list[bool]]:
    try:
        with quiet():
            raw = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = data.features[column]
        raise DataError(f"{source.shown}: column '{column}' holds {kind}, not images; name an image column") from error
    return raw[column], [bool(v and (v["bytes"] or v["path"])) for v in raw[column]]


def _labels(data: Dataset, column: str, source: Source) -> tuple[list[Label | None], tuple[str, ...] | None]:
    values = data.data.column(column).to_pylist()
    feature = data.features[column]
    order = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else _declared(source)
    labels: list[Label | None] = []
    for row, value in enumerate(values):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or (isinstance(value, float) and np.isnan(value)):
            labels.append(None)
        elif isinstance(value, str) or (isinstance(value, int) and order is None):
            labels.append(value)
        elif not isinstance(value, int):
            raise DataError(
                f"{source.shown} row {row}: column '{column}' holds {value!r}; labels are whole numbers or names"
            )
        elif 0 <= value < len(order or ()):
            labels.append((order or ())[value])
        elif value == -1 and isinstance(feature, datasets.ClassLabel):
            labels.append(None)  # the mark of ``datasets`` for a row without label
        else:
            raise DataError(
                f"{source.shown} row {row}: label {value} is outside 0..{len(order or ()) - 1}, the labels declared"
            )
    return labels, None if source.format == "imagefolder" else order


def _declared(source: Source) -> tuple[str, ...] | None:
    path = source.path.parent / "label_names.json"
    if not path.is_file():
        return None
    try:
        names = read_json(path)
    except ValueError as error:
        raise DataError(f"label_names.json beside {source.path.name} is not JSON: {error}") from error
    if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
        raise DataError(f"label_names.json beside {source.path.name} is not a list of names")
    return tuple(names)
