"""One source to its sheet, by the reader of its format; nothing that could block or fill memory is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fedstrata.data.find_sources import Source
from fedstrata.data.image_folders import list_images
from fedstrata.data.questions import POSITIONS
from fedstrata.data.read_options import Columns
from fedstrata.data.readers.columnar import free_memory, read_parquet
from fedstrata.data.readers.delimited import read_delimited
from fedstrata.data.readers.dialect import Dialect
from fedstrata.data.readers.jsonlines import read_jsonl
from fedstrata.data.readers.raw_table import Sheet, no_column
from fedstrata.data.spelling import spelled
from fedstrata.errors import DataError
from fedstrata.parsing.bounded_files import UnreadableError, read_text
from fedstrata.parsing.json_text import MOST_BYTES, json_value

_COPIES = 4
"""How often a text file's characters lie in memory, at most, once it is read: as Python values and as their copies."""
_ROW = 256
"""Bytes of memory that each row takes besides, however short it is: 160 to 230 were measured."""


def read_sheet(source: Source, columns: Columns, cache: Path, dialect: Dialect) -> Sheet:
    """Return the wanted columns of a source, and the names of its labels where it or a file beside it declares them.

    Args:
        source: The file or folder.
        columns: Which columns to read.
        cache: Folder for the Arrow files of ``datasets``.
        dialect: What the configuration says of text files.

    Raises:
        DataError: It cannot be read, lacks a column, or does not fit this machine.

    Example:
        See ``tests/data/test_read_sources.py``.
    """
    wanted = tuple(dict.fromkeys((*columns.inputs, columns.label, *columns.further)))
    try:
        sheet = _read(source, columns, wanted, cache, dialect)
    except OSError as error:
        raise DataError(f"{source.shown} cannot be read: {error.strerror or error}") from error
    return replace(sheet, order=_order(source, sheet, columns))


def _read(source: Source, columns: Columns, wanted: Sequence[str], cache: Path, dialect: Dialect) -> Sheet:
    if source.format == "imagefolder":
        return _pictures(source, wanted)
    size = source.path.stat().st_size
    if not size:
        raise DataError(f"{source.shown} has no rows; fill it or leave it out")
    if source.format == "parquet":
        mark = source.fingerprint()
        return read_parquet(source, wanted, label=columns.label, image=columns.image, fingerprint=mark, cache=cache)
    _check_memory(source, size)
    reader: Callable[[Source, Sequence[str], Dialect], Sheet]
    reader = read_delimited if source.format == "csv" else read_jsonl
    return reader(source, wanted, dialect)


def _check_memory(source: Source, size: int) -> None:
    """Refuse a text file whose rows would not fit; they are counted only where short ones might not."""
    free = free_memory()
    if size * (_COPIES + _ROW) <= free:  # even if every byte were a row
        return
    with source.path.open("rb") as file:
        mark = b"\n" if source.format == "csv" else b"{"  # a list of objects may be one line
        rows = sum(block.count(mark) for block in iter(lambda: file.read(1 << 20), b""))
    needed = size * _COPIES + rows * _ROW
    if needed > free:
        raise DataError(
            f"{source.shown} has {size / 1e6:,.1f} MB and about {rows:,} rows, which may take {needed / 1e9:.1f} GB of"
            f" memory, and {free / 1e9:.1f} GB are free; split the file, or use fewer rows"
        )


def _pictures(source: Source, wanted: Sequence[str]) -> Sheet:
    """Return the columns of an image folder: its images, by their paths in it, and their classes."""
    for name in wanted:
        if name not in ("image", "label"):
            raise no_column(f"{source.shown}/", name, ("image", "label"))
    found = list_images(source.path)
    notes: tuple[str, ...] = ()
    if found.skipped:
        listed = ", ".join(f"{count} {what}" for what, count in found.skipped.items())
        notes = (f"{source.shown}/: not read are {listed}",)
    paths = [str(path.relative_to(source.path)) for _, path in found.images]
    return Sheet({"image": paths, "label": [name for name, _ in found.images]}, notes=notes)


def _order(source: Source, sheet: Sheet, columns: Columns) -> tuple[str, ...] | None:
    """Return declared names of labels; those of folders are their own, and those of questions positions."""
    if columns.question is not None:
        return POSITIONS
    if source.format == "imagefolder":
        return None
    if sheet.order is not None:
        return _names(sheet.order, source.shown)
    return _declared(source)


def _declared(source: Source) -> tuple[str, ...] | None:
    path = source.path.parent / "label_names.json"
    if not path.is_file():
        return None
    try:
        names = json_value(read_text(path, most=MOST_BYTES).removeprefix("\ufeff"))
    except UnreadableError as error:
        raise DataError(f"label_names.json beside {source.path.name} cannot be used: {error}") from error
    if not (isinstance(names, list) and names and all(isinstance(n, str) and n.strip() for n in names)):
        raise DataError(f"label_names.json beside {source.path.name} is not a list of names")
    return _names(names, f"label_names.json beside {source.path.name}")


def _names(names: Sequence[str], shown: str) -> tuple[str, ...]:
    """Return declared names as labels are spelled."""
    order = tuple(spelled(name) or "" for name in names)
    twice = next((name for i, name in enumerate(order) if name in order[:i]), None)
    if twice is not None:
        raise DataError(f"{shown} declares the label '{twice}' twice; name each once")
    return order
