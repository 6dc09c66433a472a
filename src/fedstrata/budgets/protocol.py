"""What a budget rule is: every client's budget for a run, drawn once from its own stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fedstrata.domain.cost import Cost
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds


def _unknown(client: ClientId) -> Cost:
    return Cost(**dict.fromkeys((unit for unit, _ in Cost().items()), float("nan")))


@dataclass(frozen=True, slots=True)
class FullCost:
    """What budgets are measured by.

    Attributes:
        full: What full fine-tuning asks of a client in its first round, for shares such as ``25%``.
        devices: Machines of the clients whose speed and memory are known.
    """

    full: Callable[[ClientId], Cost] = _unknown
    devices: Mapping[ClientId, DeviceProfile] = field(default_factory=dict)


class Budget(Protocol):
    """Assigns each client what it can pay per round."""

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return one budget per client; a client's draw depends on the seed and its name alone."""
        ...
