"""A budget per client, by name: listed in the configuration, or in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.written_limits import Limit, budget, parse
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.units import Amount
from fedstrata.errors import BudgetError, nearest

Limits = int | Mapping[str, Limit]
"""A number of layers, or limits by unit."""


@dataclass(frozen=True, slots=True)
class PerClient:
    """Budgets as the user lists them.

    Attributes:
        clients: Limits by client name: a number of layers, or a mapping such as ``{bytes_peak: 8 GiB, layers: 2}``.
        file: CSV file with a column ``client`` and columns named as units; an empty cell is no limit. Relative to the
            configuration.
        default: Limits of every client that is not listed; ``None`` makes an unlisted client an error.

    Example:
        >>> rule = PerClient(clients={"a": 3}, default=1)
        >>> budgets = rule.assign([ClientId("a"), ClientId("b")], Seeds(0), FullCost())
        >>> budgets["a"].layers, budgets["b"].layers
        (3.0, 1.0)
    """

    clients: Mapping[str, Limits] | None = None
    file: Path | None = None
    default: Limits | None = None

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        if (self.clients is None) == (self.file is None):
            raise BudgetError("budget 'per-client' needs 'clients' or 'file', one of them")
        for name, limits in (self.clients or {}).items():
            _amounts(limits, f"budget 'per-client' of client '{name}'")
        if self.default is not None:
            _amounts(self.default, "the default of budget 'per-client'")

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return every client's listed budget, or the default.

        Raises:
            BudgetError: The list names a client that does not exist, or lacks one and has no default.
        """
        listed = _read(self.file) if self.file else self._listed()
        for name in listed:
            if name not in clients:
                raise BudgetError(
                    f"budget 'per-client' names client '{name}', which does not exist; {nearest(name, clients)}"
                )
        return {c: budget(self._of(c, listed), c, yardstick.full) for c in clients}

    def _listed(self) -> dict[str, Mapping[str, Amount]]:
        return {
            n: _amounts(limits, f"budget 'per-client' of client '{n}'") for n, limits in (self.clients or {}).items()
        }

    def _of(self, client: ClientId, listed: Mapping[str, Mapping[str, Amount]]) -> Mapping[str, Amount]:
        if client in listed:
            return listed[client]
        if self.default is None:
            raise BudgetError(
                f"budget 'per-client' has no entry for client '{client}' and no default; add one of them"
                f" ({nearest(client, listed)})"
            )
        return _amounts(self.default, "the default of budget 'per-client'")


def _amounts(limits: Limits, where: str) -> Mapping[str, Amount]:
    return parse({"layers": limits} if isinstance(limits, int) else limits, where)


def _read(path: Path) -> dict[str, Mapping[str, Amount]]:
    """Return the limits of a CSV file by client.

    Raises:
        BudgetError: No such file, no column ``client``, a client listed twice, or a cell that is no amount.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise BudgetError(f"cannot read the budgets in {path}: {error}; give a CSV file in UTF-8") from error
    if not rows or "client" not in rows[0]:
        raise BudgetError(f"{path} has no column 'client'; its first line must be such as client,bytes_peak,seconds")
    found: dict[str, Mapping[str, Amount]] = {}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise BudgetError(f"{path}:{number} has another number of cells than its first line")
        name = row.pop("client")
        if name in found:
            raise BudgetError(f"{path}:{number} lists client '{name}' a second time")
        found[name] = parse({unit: cell.strip() or None for unit, cell in row.items()}, f"{path}:{number}")
    return found
