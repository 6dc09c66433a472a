"""A split: which rows each client has; and the shuffle and the steps that every partition shares.

Rows are shuffled once by the seed before any split, so the order of a file never becomes a client's bias. The split
is a plain value computed once per run; nothing draws it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedstrata.data.names import safe_ids
from fedstrata.data.quiet import quiet
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from flwr_datasets.partitioner import Partitioner

Rows = NDArray[np.int64]
STREAM = "/partition"
"""Name of the split's random streams; no client can have it, for the slash."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows per client.

    Attributes:
        rows: Indices of each client's rows, shuffled, ascending by client; no row twice.
        left_over: Number of rows that no client got.
        natural_ids: The id in the data of each client whose name had to be changed.
    """

    rows: Mapping[ClientId, Rows]
    left_over: int = 0
    natural_ids: Mapping[ClientId, str] | None = None


class Partitioning(Protocol):
    """How the rows of one table come to clients."""

    def split(self, labels: Rows, *, seed: int) -> Split:
        """Return the rows of each client; the same for the same seed.

        Args:
            labels: Shape ``[rows]``.
            seed: The run's.
        """
        ...


def split_by(partitioner: Partitioner, labels: Rows, seed: int, ids: Sequence[str] = ()) -> Split:
    """Return what a partitioner of ``flwr_datasets`` makes of the shuffled rows.

    Args:
        partitioner: Sees the columns ``row``, ``label``, and ``id`` where ids are given.
        labels: Shape ``[rows]``.
        seed: Shuffles the rows.
        ids: Natural id of each row, which names the clients; by default they are numbered.

    Example:
        See ``tests/data/test_partition.py``.
    """
    from datasets import Dataset

    order = shuffled(len(labels), seed)
    columns: dict[str, Any] = {"row": order, "label": labels[order]}
    if ids:
        columns["id"] = [ids[i] for i in order]
    with quiet(), warnings.catch_warnings():
        # ``datasets`` sorts in a way that newer releases of pyarrow call deprecated
        warnings.filterwarnings("ignore", message="Specifying null_placement", category=FutureWarning)
        partitioner.dataset = Dataset.from_dict(columns)
        shares = [_rows(partitioner.load_partition(i)) for i in range(partitioner.num_partitions)]
    left_over = len(labels) - sum(len(rows) for rows in shares)
    if not ids:
        width = max(2, len(str(len(shares) - 1)))
        return Split({ClientId(f"client-{i:0{width}}"): rows for i, rows in enumerate(shares)}, left_over)
    natural = [ids[int(rows[0])] for rows in shares]
    names = safe_ids(natural)
    rows = {names[raw]: share for raw, share in zip(natural, shares, strict=True)}
    changed = {names[raw]: raw for raw in natural if names[raw] != raw}
    return Split(dict(sorted(rows.items())), left_over, dict(sorted(changed.items())))


def shuffled(rows: int, seed: int) -> Rows:
    """Return the one shuffle of all rows, before any split.

    Example:
        >>> sorted(shuffled(3, seed=0).tolist())
        [0, 1, 2]
    """
    return Seeds(seed).generator(Phase.DATA, client="/shuffle").permutation(rows)


def _rows(share: Dataset) -> Rows:
    return np.asarray(share["row"][:], dtype=np.int64)


def at_least(kind: str, least: int, **values: int) -> None:
    """Refuse a number that is too small.

    Raises:
        ConfigError: Names the partition, the option, the value, and the least value.

    Example:
        See ``tests/data/test_partition.py``.
    """
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"partition {kind}: {name} is {value}; it has to be at least {least}")


def enough(rows: int, needed: int) -> None:
    """Refuse to split fewer rows than a partition needs.

    Raises:
        DataError: There are fewer.

    Example:
        See ``tests/data/test_partition.py``.
    """
    if rows < needed:
        raise DataError(
            f"partition: {rows} rows cannot be split as asked, which takes at least {needed}; use fewer clients"
        )
