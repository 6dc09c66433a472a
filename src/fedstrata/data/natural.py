"""One client per natural id, such as a hospital, or several per id that share its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstrata.data.dealing import deal_apart, deal_evenly, numbered
from fedstrata.data.split import STREAM, Rows, Split, at_least, shuffled, split_by
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class NaturalId:
    """One client per value of a column, or several that share the value's rows.

    Attributes:
        column: Name of the column, such as ``hospital``.
        clients_per_id: Clients per value, at least 1; of several, the value's name and a number are the client's.
        disjoint: A column of which no two clients share a value, such as the number of a sentence that is there in
            several languages; each value is one client's, and rows of other ids with that value are left over.
        min_rows: The least rows of a client, at least 1.

    Example:
        >>> import numpy as np
        >>> ids = ("St. Mary", "Charité", "St. Mary")
        >>> NaturalId("hospital").split(np.zeros(3, dtype=np.int64), seed=0, ids=ids).natural_ids
        {'charite': 'Charité', 'st-mary': 'St. Mary'}
    """

    column: str
    clients_per_id: int = 1
    disjoint: str | None = None
    min_rows: int = 1

    def __post_init__(self) -> None:
        at_least("natural-id", 1, clients_per_id=self.clients_per_id, min_rows=self.min_rows)
        if self.disjoint == self.column:
            raise ConfigError(
                f"partition natural-id: disjoint is '{self.disjoint}', the column of the ids; name another column"
            )

    def split(self, labels: Rows, *, seed: int, ids: Sequence[str] = (), values: Sequence[str] = ()) -> Split:
        """Return the rows of each client.

        Args:
            labels: Shape ``[rows]``.
            seed: Shuffles the rows inside a client, and draws which value is whose.
            ids: The column's value for each row.
            values: The value of ``disjoint`` for each row.

        Raises:
            DataError: A client would get fewer than ``min_rows`` rows; names settings that work.
        """
        for column, given in ((self.column, ids), (self.disjoint, values)):
            if column is not None and len(given) != len(labels):
                raise DataError(
                    f"partition natural-id: column '{column}' has {len(given)} values for {len(labels)} rows"
                )
        split = self._split(labels, seed, ids, values)
        client, rows = min(split.rows.items(), key=lambda entry: len(entry[1]))
        if len(rows) < self.min_rows:
            raise DataError(
                f"partition natural-id: client {client} gets {len(rows)} rows, fewer than the {self.min_rows} of"
                f" min_rows; {self._advice(len(rows), labels, seed, ids, values)}"
            )
        return split

    def _split(self, labels: Rows, seed: int, ids: Sequence[str], values: Sequence[str]) -> Split:
        from flwr_datasets.partitioner import NaturalIdPartitioner

        if self.clients_per_id == 1 and self.disjoint is None:
            return split_by(NaturalIdPartitioner(partition_by="id"), labels, seed, ids)
        order, clients = shuffled(len(labels), seed), numbered(sorted(set(ids)), self.clients_per_id)
        if self.disjoint is None:
            rows = deal_evenly(order, ids, clients)
        else:
            rows = deal_apart(order, ids, values, clients, Seeds(seed).generator(Phase.DATA, client=STREAM))
        changed = {client: raw for client, raw in clients.items() if client != raw}
        left_over = len(labels) - sum(map(len, rows.values()))
        return Split(dict(sorted(rows.items())), left_over, dict(sorted(changed.items())))

    def _advice(self, least: int, labels: Rows, seed: int, ids: Sequence[str], values: Sequence[str]) -> str:
        """Return the nearest settings, one knob at a time, that were tried and work with this seed."""
        works = [f"min_rows: {least}"] if least else []
        for fewer in reversed(range(1, self.clients_per_id)):
            tried = NaturalId(self.column, fewer, self.disjoint)._split(labels, seed, ids, values)
            if min(map(len, tried.rows.values())) >= self.min_rows:
                works.append(f"clients_per_id: {fewer}")
                break
        if works:
            return f"with this seed {' or '.join(works)} works"
        return "remove the rows of that id, or give it more" + (", or leave disjoint out" if self.disjoint else "")

    def __str__(self) -> str:
        each = "one client" if self.clients_per_id == 1 else f"{self.clients_per_id} clients"
        apart = f", no two of them sharing a value of column '{self.disjoint}'" if self.disjoint else ""
        return f"{each} per value of column '{self.column}'{apart}"
