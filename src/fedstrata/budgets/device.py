"""Budgets from the clients' machines: what their memory holds, and how long a round may take there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.written_limits import Limit, budget, parse
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError, nearest


@dataclass(frozen=True, slots=True)
class Device:
    """Each client's own machine sets the limits; needs ``devices`` in the configuration.

    Attributes:
        memory: Share of the machine's memory that training may use.
        seconds: Time of a round, if that is limited too.

    Example:
        >>> from fedstrata.domain.device import DeviceProfile
        >>> phone = DeviceProfile(forward=1e11, carry=1e11, weight=1e11, update=1e9, memory=4e9)
        >>> rule = Device(memory="50%")
        >>> rule.assign([ClientId("a")], Seeds(0), FullCost(devices={ClientId("a"): phone}))["a"].bytes_peak
        2000000000.0
    """

    memory: Limit = "80%"
    seconds: Limit | None = None

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        parse({"bytes_peak": self.memory, "seconds": self.seconds}, "budget 'device'")

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return each client's limits.

        Raises:
            BudgetError: A client without a device profile, or one whose memory is not known.
        """
        return {client: self._of(client, yardstick) for client in clients}

    def _of(self, client: ClientId, yardstick: FullCost) -> Cost:
        machine = yardstick.devices.get(client)
        if machine is None:
            raise BudgetError(
                f"budget 'device' needs the machine of client '{client}'; add it to devices ('fedstrata bench client'"
                f" measures one; {nearest(client, list(yardstick.devices))})"
            )
        if machine.memory is None:
            raise BudgetError(f"the device profile '{machine.name}' of client '{client}' has no memory; add it")
        limits = parse({"bytes_peak": self.memory, "seconds": self.seconds}, "budget 'device'")
        memory = machine.memory

        def whole(client: ClientId) -> Cost:
            return replace(yardstick.full(client), bytes_peak=memory)

        return budget(limits, client, whole)
