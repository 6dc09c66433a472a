"""One budget for every client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.written_limits import Limit, budget, parse
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.errors import BudgetError


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same limits for every client, per round; each is a number or a share of full fine-tuning's, such as ``25%``.

    Attributes:
        layers: Number of layers.
        bytes_up: Bytes sent, such as ``40 MB``.
        flops: Floating-point operations, such as ``3 TFLOP``.
        bytes_peak: Largest memory, such as ``8 GiB``.
        seconds: Time, such as ``90 s``; needs device profiles.

    Example:
        >>> Fixed(layers=2).assign([ClientId("a")], Seeds(0), FullCost())["a"].layers
        2.0
    """

    layers: Limit | None = None
    bytes_up: Limit | None = None
    flops: Limit | None = None
    bytes_peak: Limit | None = None
    seconds: Limit | None = None

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        if not parse(asdict(self), "budget 'fixed'"):
            raise BudgetError("budget 'fixed' limits nothing; give layers, bytes_up, flops, bytes_peak or seconds")

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return the same limits for every client, shares taken of its own full fine-tuning."""
        amounts = parse(asdict(self), "budget 'fixed'")
        return {client: budget(amounts, client, yardstick.full) for client in clients}
