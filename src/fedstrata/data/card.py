"""The data card: what was kept, dropped and given to whom, as counts that a run folder may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedstrata.domain.ids import ClientId


@dataclass(frozen=True, slots=True)
class DataCard:
    """Counts of a run's rows.

    Attributes:
        files: Names of the source files, without their folders.
        labels: Name of each label, by index.
        rows_kept: Rows that clients hold, held-out rows included.
        rows_test: Rows of the server's test set.
        rows_dropped: Number of dropped rows by reason.
        train_rows: Training rows per client.
        held_out_rows: Held-out rows per client.
        label_counts: Per client, its rows per label (training and held out), by label index; clients whose labels
            are not known are left out.
        partition: One phrase that says how rows came to clients.
        natural_ids: The id in the data of each client whose name had to be changed.
        warnings: One sentence each.

    Example:
        >>> one = ClientId("client-00")
        >>> card = DataCard(("a.csv",), ("no", "yes"), 12, 4, {}, {one: 11}, {one: 1}, {one: (10, 2)}, "iid")
        >>> card.to_json(min_cell=5)["clients"]
        {'client-00': {'train': 10, 'held_out': '<5', 'labels': {'no': 10, 'yes': '<5'}}}
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    rows_kept: int
    rows_test: int
    rows_dropped: Mapping[str, int]
    train_rows: Mapping[ClientId, int]
    held_out_rows: Mapping[ClientId, int]
    label_counts: Mapping[ClientId, tuple[int, ...]]
    partition: str
    natural_ids: Mapping[ClientId, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self, *, min_cell: int = 0) -> dict[str, object]:
        """Return the card as JSON values.

        Args:
            min_cell: Above 0, every count below it is shown as ``"<min_cell>"`` and every other count is
                rounded down to a multiple of it, so that no small count can be had by subtraction.
        """
        clients = {
            client: {
                "train": _cell(rows, min_cell),
                "held_out": _cell(self.held_out_rows[client], min_cell),
                "labels": self._labels(client, min_cell),
            }
            for client, rows in self.train_rows.items()
        }
        return {
            "files": list(self.files),
            "labels": list(self.labels),
            "rows_kept": _cell(self.rows_kept, min_cell),
            "rows_test": _cell(self.rows_test, min_cell),
            "rows_dropped": {reason: _cell(n, min_cell) for reason, n in self.rows_dropped.items()},
            "partition": self.partition,
            "min_cell": min_cell,
            "clients": clients,
            "natural_ids": dict(self.natural_ids),
            "warnings": list(self.warnings),
        }

    def _labels(self, client: ClientId, min_cell: int) -> dict[str, int | str]:
        if client not in self.label_counts:
            return {}
        pairs = zip(self.labels, self.label_counts[client], strict=True)
        return {name: _cell(count, min_cell) for name, count in pairs}


def _cell(count: int, min_cell: int) -> int | str:
    if min_cell <= 0:
        return count
    return f"<{min_cell}" if count < min_cell else count - count % min_cell
