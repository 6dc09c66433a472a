"""A budget per client, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError, nearest


@dataclass(frozen=True, slots=True)
class PerClient:
    """Budgets as the user lists them.

    Attributes:
        layers: Number of layers by client name.
        default: Number of layers of every client that is not listed; ``None`` makes an unlisted client an error.

    Example:
        >>> budgets = PerClient(layers={"a": 3}, default=1).assign([ClientId("a"), ClientId("b")], Seeds(0))
        >>> budgets["a"].layers, budgets["b"].layers
        (3.0, 1.0)
    """

    layers: Mapping[str, int]
    default: int | None = None

    def __post_init__(self) -> None:
        """Refuse negative budgets."""
        for name, budget in self.layers.items():
            if budget < 0:
                raise BudgetError(f"budget 'per-client' gives client '{name}' {budget} layers; it must be 0 or more")
        if self.default is not None and self.default < 0:
            raise BudgetError(f"budget 'per-client' has default: {self.default}; it must be 0 or more")

    def assign(self, clients: Sequence[ClientId], seeds: Seeds) -> Mapping[ClientId, Cost]:
        """Return every client's listed budget, or the default.

        Raises:
            BudgetError: The table names a client that does not exist, or lacks one and has no default.
        """
        for name in self.layers:
            if name not in clients:
                raise BudgetError(
                    f"budget 'per-client' names client '{name}', which does not exist; {nearest(name, clients)}"
                )
        return {client: Cost(layers=float(self._of(client))) for client in clients}

    def _of(self, client: ClientId) -> int:
        budget = self.layers.get(client, self.default)
        if budget is None:
            raise BudgetError(
                f"budget 'per-client' has no entry for client '{client}' and no default; add one of them"
                f" ({nearest(client, self.layers)})"
            )
        return budget
