"""Labels: from what a column holds, numbers or names, to indices from 0 and their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedstrata.errors import DataError, nearest

Label = int | str


def label_names(
    labels: Sequence[Label], orders: Sequence[tuple[str, ...] | None], place: Sequence[str]
) -> tuple[str, ...]:
    """Return the name of each label: as declared, or the sorted names, or ``0`` to the largest number.

    Args:
        labels: The labels of all rows.
        orders: Declared names per file, ``None`` where a file declares none; the first declaration counts.
        place: Where each row is, for errors.

    Raises:
        DataError: Names and numbers are mixed, or a number cannot be a label.

    Example:
        >>> label_names(["no", "yes", "no"], [None], ["a.csv row 0"] * 3)
        ('no', 'yes')
        >>> label_names([2, 0], [None], ["a.csv row 0"] * 2)
        ('0', '1', '2')
    """
    declared = next((order for order in orders if order), None)
    if declared:
        return declared
    numbers = [isinstance(label, int) for label in labels]
    if any(numbers) != all(numbers):
        name, number = numbers.index(False), numbers.index(True)
        raise DataError(
            f"labels mix names ({place[name]}: '{labels[name]}') and numbers ({place[number]}: {labels[number]});"
            " use one or the other"
        )
    if not all(numbers):
        return tuple(sorted({str(label) for label in labels}))
    for label, at in zip(labels, place, strict=True):
        if not 0 <= int(label) < max(1000, len(labels)):
            raise DataError(f"{at}: label {label} is not a label number; labels count from 0")
    return tuple(str(i) for i in range(max(int(label) for label in labels) + 1))


def encode(
    labels: Sequence[Label], names: Sequence[str], place: Sequence[str], *, by_name: bool = False
) -> NDArray[np.int64]:
    """Return labels as indices into their names. Shape ``[rows]``, int64.

    Args:
        labels: The labels of all rows.
        names: Name of each label.
        place: Where each row is, for errors.
        by_name: The names are given from elsewhere, so that a number is not an index but the name as which it is
            written.

    Raises:
        DataError: The first label that is not among them, with its row.

    Example:
        >>> encode(["yes", "no"], ["no", "yes"], ["a.csv row 0", "a.csv row 1"]).tolist()
        [1, 0]
        >>> encode([7, 3], ["3", "7"], ["a.csv row 0", "a.csv row 1"], by_name=True).tolist()
        [1, 0]
    """
    index: dict[Label, int] = {name: i for i, name in enumerate(names)}
    out = np.empty(len(labels), dtype=np.int64)
    for row, label in enumerate(labels):
        number = index.get(_written(label), -1) if by_name or isinstance(label, str) else label
        if not 0 <= number < len(names):
            raise DataError(f"{place[row]}: {_unknown(label, names, by_name=by_name)}")
        out[row] = number
    return out


def _written(label: Label) -> str:
    return label if isinstance(label, str) else str(int(label))


def _unknown(label: Label, names: Sequence[str], *, by_name: bool) -> str:
    if by_name:
        advice = "" if isinstance(label, str) else "; name the numbers in a label_names.json beside the file"
        return f"label {label!r} is not a label of the run; {nearest(_written(label), names)}{advice}"
    hint = nearest(label, names) if isinstance(label, str) else f"known: 0..{len(names) - 1}"
    return f"label {label!r} is not a label of the training rows; {hint}"
