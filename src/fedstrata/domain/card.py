"""The data card: what was kept, dropped and given to whom, as counts; a run folder holds it as ``data_card.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fedstrata.domain.ids import ClientId

Count = int | str
"""A number of rows, or a text such as ``<5`` where a small one is hidden."""


@dataclass(frozen=True, slots=True)
class ClientData:
    """Rows of one client: for training, held out, and of both per label; of unknown labels nothing."""

    train: Count
    held_out: Count = 0
    labels: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Counts of a run's rows.

    Attributes:
        files: Names of the source files, without their folders.
        labels: Name of each label, by index.
        rows_kept: Rows that clients hold, held-out rows included.
        rows_test: Rows of the server's test set.
        rows_dropped: Number of dropped rows by reason, or of all.
        partition: One phrase that says how rows came to clients.
        min_cell: Counts below it are hidden; 0 hides none.
        clients: Each client's rows.
        natural_ids: The id in the data of each client whose name had to be changed.
        warnings: One sentence each.

    Example:
        >>> rows = {ClientId("client-00"): ClientData(11, 1, {"no": 10, "yes": 2})}
        >>> DataCard(clients=rows).to_json(min_cell=5)["clients"]
        {'client-00': {'train': 10, 'held_out': '<5', 'labels': {'no': 10, 'yes': '<5'}}}
    """

    files: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rows_kept: Count | None = None
    rows_test: Count | None = None
    rows_dropped: Count | Mapping[str, Count] | None = None
    partition: str | None = None
    min_cell: int = 0
    clients: Mapping[str, ClientData]
    natural_ids: Mapping[ClientId, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self, *, min_cell: int = 0) -> dict[str, Any]:
        """Return the card as JSON values.

        Args:
            min_cell: Above 0, every count below it is shown as ``"<min_cell>"`` and every other count is
                rounded down to a multiple of it, so that no small count can be had by subtraction.
        """

        def hidden(value: Any) -> Any:  # noqa: ANN401  a count, or counts by name
            if isinstance(value, Mapping):
                return {name: hidden(count) for name, count in value.items()}
            if min_cell <= 0 or not isinstance(value, int):
                return value
            return f"<{min_cell}" if value < min_cell else value - value % min_cell

        values = asdict(replace(self, min_cell=min_cell))
        values |= {key: hidden(values[key]) for key in ("rows_kept", "rows_test", "rows_dropped", "clients")}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
