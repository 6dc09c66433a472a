"""A file as it was read: the wanted columns, value by value, before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedstrata.errors import DataError, nearest

_SHOWN = 12


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The wanted columns of one file.

    Attributes:
        columns: Values by column, one per row; ``None`` where a row has none.
        order: Label names in order, where the file itself declares them.
        typed: Whether the file says of every value what it is; in a CSV file everything is text.
        notes: What reading had to decide, one sentence each.
        skipped: Number of entries that are no rows, by reason.
    """

    columns: Mapping[str, Sequence[Any]]
    order: tuple[str, ...] | None = None
    typed: bool = True
    notes: tuple[str, ...] = ()
    skipped: Mapping[str, int] | None = None


def no_column(shown: str, name: str, known: Iterable[str], how: str = "") -> DataError:
    """Return the error of a column that is not there, with those that are.

    Args:
        shown: What errors call the file.
        name: The column.
        known: Those of the file.
        how: How the file was read, such as ``, separated by ';'``.

    Example:
        >>> str(no_column("a.csv", "label", ["text", "labl"]))
        "a.csv has no column 'label'; did you mean 'labl'? Its columns: text, labl"
    """
    names = list(known)
    hint = nearest(name, names)
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    listed = ", ".join(n[:40] or "(no name)" for n in names[:_SHOWN])
    near = f"{hint} Its" if hint.startswith("did") else "its"
    return DataError(f"{shown} has no column '{name}'; {near} columns{how}: {listed}{more}")
