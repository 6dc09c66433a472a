"""Partitioners: how the rows of one table come to clients, through ``flwr_datasets``, the same in every round."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedstrata.data.natural import NaturalId
from fedstrata.data.split import STREAM, Rows, Split, at_least, enough, split_by
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, DataError


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
        at_least("iid", 1, clients=self.clients)

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client."""
        from flwr_datasets.partitioner import IidPartitioner

        enough(len(labels), self.clients)
        return split_by(IidPartitioner(self.clients), labels, seed)

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
        at_least("dirichlet", 1, clients=self.clients, min_rows=self.min_rows)
        if not (self.alpha > 0 and np.isfinite(self.alpha)):
            raise ConfigError(f"partition dirichlet: alpha is {self.alpha}; it has to be above 0, such as 0.3")

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client.

        Raises:
            DataError: Ten draws left some client under ``min_rows``; names settings that work.
        """
        enough(len(labels), self.clients * self.min_rows)
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
                return split_by(partitioner, labels, seed)
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
        at_least("shard", 1, clients=self.clients, shards_per_client=self.shards_per_client)

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = ()) -> Split:
        """Return the rows of each client; rows that fill no whole shard are left over."""
        from flwr_datasets.partitioner import ShardPartitioner

        shards = self.clients * self.shards_per_client
        enough(len(labels), shards)
        partitioner = ShardPartitioner(
            num_partitions=self.clients,
            partition_by="label",
            num_shards_per_partition=self.shards_per_client,
            shard_size=len(labels) // shards,
            seed=Seeds(seed).integer(Phase.DATA, client=STREAM),
        )
        return split_by(partitioner, labels, seed)

    def __str__(self) -> str:
        return f"{self.shards_per_client} label shards for each of {self.clients} clients"


Partition = Iid | Dirichlet | Shard | NaturalId


def _halved(number: int) -> list[int]:
    return [number >> k for k in range(1, number.bit_length())]
