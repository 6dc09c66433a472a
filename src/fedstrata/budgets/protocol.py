"""What a budget rule is: every client's budget for a run, drawn once from its own stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds


class Budget(Protocol):
    """Assigns each client what it can pay per round."""

    def assign(self, clients: Sequence[ClientId], seeds: Seeds) -> Mapping[ClientId, Cost]:
        """Return one budget per client; a client's draw depends on the seed and its name alone."""
        ...
