"""What labels and texts look like before the work: what cannot be meant is refused, what may not be is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from fedstrata.data.spelling import FRACTION, NUMBER
from fedstrata.data.table import Questions, Table, Texts
from fedstrata.domain.formatting import listing
from fedstrata.errors import DataError

FEW = 20
"""Below this many rows nothing is said of how many labels there are: it may be a first trial."""
LONG = 100
"""Characters of a label beyond which it reads as a text."""
_MISSING = frozenset({"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a"})


def check_labels(table: Table, column: str) -> tuple[str, ...]:
    """Refuse labels that nothing can be learned from, and return notes on those that may not be meant.

    Args:
        table: The rows that decide which labels there are.
        column: Name of the column of labels.

    Raises:
        DataError: There is one label alone, or nearly every row has a label of its own.

    Example:
        See ``tests/data/test_label_checks.py``.
    """
    if isinstance(table.inputs, Questions):
        return ()
    count = Counter(table.names[i] for i in table.labels)
    if len(table.names) < 2:
        raise DataError(f"{table.files[0]}: column '{column}' holds one label, '{table.names[0]}'; give two or more")
    if len(table) >= FEW and 2 * len(count) > len(table):
        raise DataError(_a_label_per_row(table, count, column))
    return (*_of_names(table.names, column), *_of_rows(table, count, column))


def check_test(test: Table) -> tuple[str, ...]:
    """Return notes on the labels of test rows.

    Example:
        See ``tests/data/test_label_checks.py``.
    """
    if isinstance(test.inputs, Questions) or len(test) < 2 or len(set(test.labels.tolist())) > 1:
        return ()
    name = test.names[int(test.labels[0])]
    return (f"every test row has label '{name[:40]}', so that accuracy says nothing of the others",)


def _a_label_per_row(table: Table, count: Counter[str], column: str) -> str:
    longest = max(count, key=len)
    text = f" such as '{longest[:40]}...'" if len(longest) > LONG else ""
    return (
        f"{table.files[0]}: column '{column}' holds {len(count)} different labels{text} in {len(table)} rows, so that"
        " nearly every row is a class of its own; a classifier needs labels that repeat: name a column of few labels,"
        " and none of answers, ids or numbers to predict"
    )


def _of_names(names: Sequence[str], column: str) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.split()).casefold(), []).append(name)
    pairs = [" and ".join(f"'{name[:40]}'" for name in group) for group in alike.values() if len(group) > 1]
    if pairs:
        yield (
            f"labels {listing(pairs)} of column '{column}' differ by case or blanks only; write"
            " them alike if they mean the same"
        )
    missing = [f"'{name}'" for name in names if name.casefold() in _MISSING]
    if missing:
        yield f"{listing(missing)} is a label of column '{column}' like any other; empty its cells if it means no label"
    longest = max(names, key=len)
    if len(longest) > LONG or "\n" in longest:
        yield (
            f"column '{column}' holds a label of {len(longest)} characters ('{' '.join(longest[:40].split())}...'); if"
            " it holds answers to be written, this is no task for a classifier"
        )


def _of_rows(table: Table, count: Counter[str], column: str) -> Iterator[str]:
    single = [f"'{name[:40]}'" for name, rows in count.items() if rows == 1]
    if single and len(table) >= FEW:
        yield f"{len(single)} labels of column '{column}' have one row each, too few to learn them: {listing(single)}"
    if isinstance(table.inputs, Texts) and all(_is_number(text) for text in table.inputs.values):
        yield f"every text of {table.files[0]} is a number; check that the column of texts is the right one"


def _is_number(text: str) -> bool:
    return bool(NUMBER.fullmatch(text.strip()) or FRACTION.fullmatch(text.strip()))
