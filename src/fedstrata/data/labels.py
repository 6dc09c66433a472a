"""Labels: from what columns hold to names, and to indices from 0.

A label is known by its spelling, in every file of a data set: ``1``, ``1.0`` and ``"1"`` are one label. Names are
sorted, numbers by size. Only where a file or a ``label_names.json`` declares names is a number the index of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from fedstrata.data.spelling import CODE, FRACTION, NUMBER, spelled
from fedstrata.errors import DataError, LabelError, nearest

Place = Callable[[int], str]
"""Names a row for errors: ``rows.csv row 3``."""
_NONE = -1
"""The mark of ``datasets`` for a row without label, where names are declared."""
_BOOLEANS = {"False": "0", "True": "1"}


def read_labels(
    values: Sequence[object], order: Sequence[str] | None, place: Place, *, column: str, typed: bool
) -> list[str | None]:
    """Return the name of each row's label as it is spelled, ``None`` where there is none.

    Args:
        values: What the column holds.
        order: Declared names by index; ``None`` where none are.
        place: Names a row.
        column: Name of the column.
        typed: Whether a text is surely no number; in a CSV file everything is text.

    Raises:
        DataError: A value is no label, or no index of a declared name; with file, row and column.

    Example:
        >>> read_labels([1.0, None, "yes"], None, "a.jsonl row {}".format, column="label", typed=True)
        ['1', None, 'yes']
        >>> read_labels(["1", "0"], ["no", "yes"], "a.csv row {}".format, column="label", typed=False)
        ['yes', 'no']
    """
    found = [_spelled(value, row, place, column) for row, value in enumerate(values)]
    if order is None or (not typed and all(label is None or label in order for label in found)):
        return found
    named: list[str | None] = []
    for row, (value, label) in enumerate(zip(values, found, strict=True)):
        surely_text = isinstance(value, str) and (typed or not NUMBER.fullmatch(label or ""))
        named.append(label if label is None or surely_text else _at(label, order, row, place, column))
    return named


def numbers_in(values: Sequence[object], *, typed: bool) -> set[str]:
    """Return the labels of a column that may be numbers: not those that a typed file holds as text.

    Example:
        >>> sorted(numbers_in(["1", 2, "K"], typed=True)), sorted(numbers_in(["1", "K"], typed=False))
        (['2'], ['1'])
    """
    loose = [v for v in values if not (isinstance(v, bool) or (typed and isinstance(v, str)))]
    return {label for value in loose if (label := spelled(value)) and _may_count(value, label)}


def _may_count(value: object, label: str) -> bool:
    return not isinstance(value, str) or bool(NUMBER.fullmatch(label) or FRACTION.fullmatch(label))


def _spelled(value: object, row: int, place: Place, column: str) -> str | None:
    try:
        return spelled(value)
    except TypeError as error:
        raise DataError(f"{place(row)}: column '{column}' holds {error}; labels are whole numbers or names") from error


def _at(label: str, order: Sequence[str], row: int, place: Place, column: str) -> str | None:
    index = _BOOLEANS.get(label, label)
    if not NUMBER.fullmatch(index):
        raise DataError(f"{place(row)}: column '{column}' holds {label}; labels are whole numbers or names")
    if int(index) == _NONE:
        return None
    if not 0 <= int(index) < len(order):
        raise DataError(f"{place(row)}: label {index} is outside 0..{len(order) - 1}, the labels declared")
    return order[int(index)]


def label_names(labels: Sequence[str], numbers: Set[str], place: Place, *, column: str) -> tuple[str, ...]:
    """Return the different labels: names sorted, numbers by size.

    Args:
        labels: The labels of all rows.
        numbers: Those that may be numbers.
        place: Names a row.
        column: Name of the column.

    Raises:
        DataError: A name is among numbers, or a number is not whole; with file, row and column.

    Example:
        >>> label_names(["10", "2", "10"], {"10", "2"}, "a.csv row {}".format, column="label")
        ('2', '10')
        >>> label_names(["1234", "0070"], {"1234"}, "a.csv row {}".format, column="code")
        ('0070', '1234')
    """
    count = Counter(labels)
    fraction = next((label for label in count if label in numbers and not NUMBER.fullmatch(label)), None)
    if fraction is not None:
        raise DataError(
            f"{place(labels.index(fraction))}: column '{column}' holds {fraction}; labels are whole numbers or names"
        )
    if all(NUMBER.fullmatch(label) for label in count):
        return tuple(sorted(count, key=int))
    if numbers and not any(CODE.fullmatch(label) for label in count):
        raise DataError(_mixed(labels, numbers, place, column))
    return tuple(sorted(count))


def _mixed(labels: Sequence[str], numbers: Set[str], place: Place, column: str) -> str:
    name = next(row for row, label in enumerate(labels) if label not in numbers)
    number = next(row for row, label in enumerate(labels) if label in numbers)
    return (
        f"{place(name)}: column '{column}' holds '{labels[name][:40]}', and {place(number)} the number"
        f" {labels[number]}; use names or numbers alone, empty the cell of a row without label, or list all labels as"
        " names in a label_names.json beside the file"
    )


def encode(labels: Sequence[str], names: Sequence[str], place: Place, *, column: str) -> NDArray[np.int64]:
    """Return labels as indices into the names. Shape ``[rows]``, int64.

    Raises:
        LabelError: The first label that is not among them, with file, row and column.

    Example:
        >>> encode(["yes", "no"], ["no", "yes"], "a.csv row {}".format, column="label").tolist()
        [1, 0]
    """
    index = {name: i for i, name in enumerate(names)}
    out = np.empty(len(labels), dtype=np.int64)
    for row, label in enumerate(labels):
        if label not in index:
            raise LabelError(
                f"{place(row)}: column '{column}' holds '{label[:40]}', which is not a label of the run;"
                f" {nearest(label, names)}{_advice(label, names)}"
            )
        out[row] = index[label]
    return out


def _advice(label: str, names: Sequence[str]) -> str:
    if NUMBER.fullmatch(label) and not any(NUMBER.fullmatch(name) for name in names):
        return "; name the numbers in a label_names.json beside the file"
    return ""
