"""Small versions of data sets: so many rows of a table, the same ones whatever the seed of a run.

The draw depends on the number of rows alone, that is on the order of the files: runs of many seeds then prepare and
cache the same rows once. A smaller limit keeps a part of what a larger one keeps.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from fedstrata.data.table import Table

_DRAW = 20_240_815
"""Seed of every such draw."""


def limited(table: Table, most: int | None, groups: Sequence[Hashable]) -> tuple[Table, int]:
    """Return at most so many rows of each group, in their order, and how many are left out.

    Args:
        table: The rows.
        most: Rows per group; ``None`` keeps all.
        groups: The group of each row; no group at all is one of all rows.

    Example:
        See ``tests/data/test_limit.py``.
    """
    if most is None:
        return table, 0
    members: dict[Hashable, list[int]] = {}
    for row in range(len(table)):
        members.setdefault(groups[row] if groups else None, []).append(row)
    kept = sorted(row for rows in members.values() for row in _drawn(rows, most))
    if len(kept) == len(table):
        return table, 0
    return table.take(np.array(kept, dtype=np.int64)), len(table) - len(kept)


def _drawn(rows: Sequence[int], most: int) -> list[int]:
    order = np.random.default_rng(_DRAW).permutation(len(rows))
    return [rows[place] for place in order[:most]]
