"""Results: one line per run, what comparisons are made of, and the CSV file that keeps them.

The file has a header and one line per run. A number is written so that it reads back as the same number; what was not
measured is empty. A text that a spreadsheet would run as a formula has an apostrophe before
it. Two columns hold lists, parted by spaces:

    layers   name:count ...                       client-rounds per layer, in layer order; a name is percent-encoded
    curve    round:accuracy:bytes_up:flops ...    the evaluated rounds, 0 before training; sums until then
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields
from math import isfinite
from pathlib import Path
from urllib.parse import quote, unquote

from pydantic import TypeAdapter

from fedstrata.comparison.outcome import CurvePoint, Outcome, merge_local_only, outcome_of
from fedstrata.errors import DataError, nearest
from fedstrata.files import write_atomic
from fedstrata.tables.csv_text import csv_text, text_of

__all__ = [
    "COLUMNS",
    "CurvePoint",
    "Outcome",
    "is_results_file",
    "merge_local_only",
    "outcome_of",
    "read_outcomes",
    "write_outcomes",
]

COLUMNS = tuple(field.name for field in fields(Outcome))
"""The columns of a results file."""

_OUTCOME = TypeAdapter(Outcome)


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Replace a results file at once; see ``tests/comparison/test_results.py``."""
    rows = ([_plain(getattr(one, name)) for name in COLUMNS] for one in outcomes)
    write_atomic(path, csv_text(COLUMNS, rows), shared=True)


def read_outcomes(path: Path) -> tuple[Outcome, ...]:
    """Read a results file.

    Raises:
        DataError: The file cannot be read, or a line is not what it should be; with file and line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, [])
            _check_head(path, head)
            return tuple(_OUTCOME.validate_python(_cells(path, reader.line_num, head, line)) for line in reader if line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; pass a results file that fedstrata wrote") from error
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}; the file is not a CSV file, or was cut off") from error


def is_results_file(path: Path) -> bool:
    """Return whether a CSV file begins as a results file does."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.readline().rstrip("\r\n") == ",".join(COLUMNS)
    except (OSError, UnicodeDecodeError):
        return False


def _plain(value: object) -> object:
    """Return a list of layers or of points as text, all else as it is."""
    if isinstance(value, Mapping):
        return " ".join(f"{quote(name)}:{count}" for name, count in value.items())
    if isinstance(value, tuple):
        return " ".join(":".join("" if x is None else repr(x) for x in astuple(point)) for point in value)
    return value


def _check_head(path: Path, head: Sequence[str]) -> None:
    for name in COLUMNS:
        if name not in head:
            raise DataError(f"{path}:1: column '{name}' is missing; pass a results file that fedstrata wrote")
    for name in head:
        if name not in COLUMNS or head.count(name) > 1:
            what = "is there twice" if name in COLUMNS else f"is no column of results; {nearest(name, COLUMNS)}"
            raise DataError(f"{path}:1: column '{name}' {what}")


def _cells(path: Path, number: int, head: Sequence[str], line: Sequence[str]) -> dict[str, object]:
    if len(line) != len(head):
        raise DataError(f"{path}:{number}: {len(line)} cells, but the header has {len(head)}; the line was changed")
    found: dict[str, object] = {}
    for name, text in zip(head, line, strict=True):
        what, read = _READERS.get(name, ("a text", text_of))
        try:
            found[name] = read(text)
        except ValueError:
            raise DataError(f"{path}:{number}: {name} is '{text}', not {what}; the line was changed") from None
    return found


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _amount(text: str) -> float:
    if not (isfinite(float(text)) and float(text) >= 0):
        raise ValueError
    return float(text)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise ValueError
    return float(text)


def _or_none(read: Callable[[str], float]) -> Callable[[str], float | None]:
    return lambda text: read(text) if text else None


def _read_layers(text: str) -> dict[str, int]:
    parts = [part.rpartition(":") for part in text_of(text).split()]
    if not all(colon for _, colon, _ in parts):
        raise ValueError
    return {unquote(name): _count(count) for name, _, count in parts}


def _read_curve(text: str) -> tuple[CurvePoint, ...]:
    points = []
    for part in text.split():
        number, accuracy, bytes_up, flops = part.split(":")
        points.append(CurvePoint(_count(number), _share(accuracy), _count(bytes_up), _or_none(_amount)(flops)))
    return tuple(points)


_READERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "seed": ("a whole number", int),
    "rounds": ("a number of rounds", _count),
    "loss": ("a number", _or_none(float)),
    **{
        name: ("a share from 0 to 1", _or_none(_share))
        for name in ("accuracy", "baseline", "worst_client", "median_client", "best_client")
    },
    "bytes_up": ("a number of bytes", _count),
    "bytes_down": ("a number of bytes", _count),
    "flops": ("a number of operations", _or_none(_amount)),
    "seconds": ("a number of seconds", _amount),
    "client_rounds": ("a number of client-rounds", _count),
    "layers": ("name:count, parted by spaces", _read_layers),
    "curve": ("round:accuracy:bytes_up:flops, parted by spaces", _read_curve),
}
