"""Partitioners: how the rows of one table come to clients, through ``flwr_datasets``, the same in every round.

Rows are shuffled once by the seed before any split, so the order of a file never becomes a client's bias. The split
is a plain value computed once per run; nothing draws it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, slots=True)
class Iid:
    """Equal shares of the shuffled rows.

    Attributes:
        clients: Number of clients, at least 1.

    Example:
        >>> split = Iid(clients=2).split(np.zeros(10, dtype=np.int64), seed=0)
        >>> {client: len(rows) for client, rows in split.rows.items()}
        {'client-00': 5, 'client-01': 5}
    """

    clients: int

    def __post_init__(self) -> None:
        _at_least("iid", 1, clients=self.clients)

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client."""
        from flwr_datasets.partitioner import IidPartitioner

        _enough(len(labels), self.clients)
        return _split(IidPartitioner(self.clients), labels, seed)

    def __str__(self) -> str:
        return f"iid over {self.clients} clients"


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Label skew: each label is shared out by one draw from a symmetric Dirichlet distribution.

    Attributes:
        clients: Number of clients, at least 1.
        alpha: Concentration, above 0; small values give each client few labels.
        min_rows: The least rows of a client; the draw is repeated up to ten times to reach it.

    Example:
        See ``tests/data/test_partition.py``.
    """

    clients: int
    alpha: float = 0.3
    min_rows: int = 10

    def __post_init__(self) -> None:
        _at_least("dirichlet", 1, clients=self.clients, min_rows=self.min_rows)
        if not (self.alpha > 0 and np.isfinite(self.alpha)):
            raise ConfigError(f"partition dirichlet: alpha is {self.alpha}; it has to be above 0, such as 0.3")

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client.

        Raises:
            DataError: Ten draws left some client under ``min_rows``; names settings that work.
        """
        _enough(len(labels), self.clients * self.min_rows)
        found = self._attempt(labels, seed)
        if found is None:
            raise DataError(
                f"partition dirichlet: in ten draws of alpha {self.alpha:g} over {len(labels)} rows, one of"
                f" {self.clients} clients always got fewer than {self.min_rows} rows; {self._advice(labels, seed)}"
            )
        return found

    def _attempt(self, labels: Rows, seed: int) -> Split | None:
        from flwr_datasets.partitioner import DirichletPartitioner

        partitioner = DirichletPartitioner(
            num_partitions=self.clients,
            partition_by="label",
            alpha=float(self.alpha),
            min_partition_size=self.min_rows,
            self_balancing=False,
            seed=Seeds(seed).integer(Phase.DATA, client=STREAM),
        )
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The specified min_partition_size")
                return _split(partitioner, labels, seed)
        except ValueError as error:
            if "max number of attempts" in str(error):
                return None
            raise

    def _advice(self, labels: Rows, seed: int) -> str:
        """Return the nearest settings, one knob at a time, that were tried and work with this seed."""
        fewer = (Dirichlet(n, self.alpha, self.min_rows) for n in _halved(self.clients))
        wider = (Dirichlet(self.clients, self.alpha * 2**k, self.min_rows) for k in range(1, 11))
        lower = (Dirichlet(self.clients, self.alpha, n) for n in _halved(self.min_rows))
        tried: list[tuple[str, Iterable[Dirichlet]]] = [
            ("clients", fewer),
            ("alpha", wider),
            ("min_rows", lower),
        ]
        works = [
            f"{knob}: {getattr(candidate, knob):g}"
            for knob, candidates in tried
            if (candidate := next((c for c in candidates if c._attempt(labels, seed)), None))
        ]
        return f"with this seed {' or '.join(works)} works" if works else "use partition iid"

    def __str__(self) -> str:
        return f"dirichlet {self.alpha:g} over {self.clients} clients, at least {self.min_rows} rows each"


@dataclass(frozen=True, slots=True)
class Shard:
    """Label skew: rows sorted by label are cut into equal shards, and each client gets some.

    Attributes:
        clients: Number of clients, at least 1.
        shards_per_client: At least 1; about the largest number of labels of a client.

    Example:
        See ``tests/data/test_partition.py``.
    """

    clients: int
    shards_per_client: int = 2

    def __post_init__(self) -> None:
        _at_least("shard", 1, clients=self.clients, shards_per_client=self.shards_per_client)

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client; rows that fill no whole shard are left over."""
        from flwr_datasets.partitioner import ShardPartitioner

        shards = self.clients * self.shards_per_client
        _enough(len(labels), shards)
        partitioner = ShardPartitioner(
            num_partitions=self.clients,
            partition_by="label",
            num_shards_per_partition=self.shards_per_client,
            shard_size=len(labels) // shards,
            seed=Seeds(seed).integer(Phase.DATA, client=STREAM),
        )
        return _split(partitioner, labels, seed)

    def __str__(self) -> str:
        return f"{self.shards_per_client} label shards for each of {self.clients} clients"


@dataclass(frozen=True, slots=True)
class NaturalId:
    """One client per value of a column.

    Attributes:
        column: Name of the column, such as ``hospital``.

    Example:
        >>> ids = ("St. Mary", "Charité", "St. Mary")
        >>> NaturalId("hospital").split(np.zeros(3, dtype=np.int64), seed=0, ids=ids).natural_ids
        {'charite': 'Charité', 'st-mary': 'St. Mary'}
    """

    column: str

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client.

        Args:
            labels: Shape ``[rows]``.
            seed: Shuffles the rows inside a client.
            ids: The column's value for each row.
        """
        from flwr_datasets.partitioner import NaturalIdPartitioner

        if len(ids) != len(labels):
            raise DataError(
                f"partition natural-id: column '{self.column}' has {len(ids)} values for {len(labels)} rows"
            )
        partitioner = NaturalIdPartitioner(partition_by="id")
        return _split(partitioner, labels, seed, ids)

    def __str__(self) -> str:
        return f"one client per value of column '{self.column}'"


Partition = Iid | Dirichlet | Shard | NaturalId

STREAM = "/partition"
"""Name of the split's random streams; no client can have it, for the slash."""


def _split(partitioner: Partitioner, labels: Rows, seed: int, ids: Sequence[str] = ()) -> Split:
    from datasets import Dataset

    order = Seeds(seed).generator(Phase.DATA, client="/shuffle").permutation(len(labels))
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


def _rows(share: Dataset) -> Rows:
    return np.asarray(share["row"][:], dtype=np.int64)


def _halved(number: int) -> list[int]:
    return [number >> k for k in range(1, number.bit_length())]


def _at_least(kind: str, least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"partition {kind}: {name} is {value}; it has to be at least {least}")


def _enough(rows: int, needed: int) -> None:
    if rows < needed:
        raise DataError(
            f"partition: {rows} rows cannot be split as asked, which takes at least {needed}; use fewer clients"
        )
