"""Heterogeneous budgets: a half-normal law truncated to the whole numbers low..high, times an amount.

With ``Z`` standard normal, the budget is ``low + floor(scale * |Z|)`` given that this is at most ``high``, so::

    P(low + j) = [ F((j + 1) / scale) - F(j / scale) ] / F((high - low + 1) / scale),   F(z) = erf(z / sqrt(2))

Every whole number in low..high has positive probability, falling from low to high, and no other has any. The main paper
(https://arxiv.org/abs/2408.15600) uses a truncated half-normal on [1, 4]; its scale could not be verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erf, isfinite, sqrt

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.written_limits import Limit, budget, parse
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.domain.units import Amount
from fedstrata.errors import BudgetError


@dataclass(frozen=True, slots=True)
class HalfNormal:
    """Most clients can pay for few layers, a few for many.

    Attributes:
        low: Smallest budget, at least 0.
        high: Largest budget.
        scale: Standard deviation of the normal whose half is taken; at least ``(high - low) / 4``, so that ``high``
            really occurs. By default ``(high - low + 1) / 2``.
        unit: What the budget limits.
        each: What one step from low to high stands for, such as ``10%`` or ``2 GiB``.

    Example:
        >>> [round(p, 3) for p in HalfNormal(low=1, high=4).probabilities()]
        [0.401, 0.314, 0.192, 0.092]
    """

    low: int
    high: int
    scale: float | None = None
    unit: str = "layers"
    each: Limit = 1

    def __post_init__(self) -> None:
        """Refuse an empty range, or a scale at which the upper end would in effect never occur."""
        if self.low < 0:
            raise BudgetError(f"budget 'half-normal' has low: {self.low}; it must be 0 or more")
        if self.high < self.low:
            raise BudgetError(f"budget 'half-normal' has high: {self.high} below low: {self.low}; swap them")
        least = (self.high - self.low) / 4
        if not (isfinite(self.width) and self.width > 0 and self.width >= least):
            raise BudgetError(
                f"budget 'half-normal' has scale: {self.scale}; it must be above 0 and at least {least:g}, a quarter of"
                " high - low"
            )
        parse({self.unit: self.each}, "budget 'half-normal'")

    @property
    def width(self) -> float:
        """The scale in use, in layers."""
        return (self.high - self.low + 1) / 2 if self.scale is None else self.scale

    def probabilities(self) -> tuple[float, ...]:
        """Return the probability of each budget from low to high."""
        marks = [erf(j / self.width / sqrt(2)) for j in range(self.high - self.low + 2)]
        return tuple((right - left) / marks[-1] for left, right in pairwise(marks))

    def assign(self, clients: Sequence[ClientId], seeds: Seeds, yardstick: FullCost) -> Mapping[ClientId, Cost]:
        """Return one draw per client, from the client's own stream."""
        each = parse({self.unit: self.each}, "budget 'half-normal'")[self.unit]
        return {
            client: budget(
                {self.unit: Amount(self._draw(client, seeds) * each.value, each.share)}, client, yardstick.full
            )
            for client in clients
        }

    def _draw(self, client: ClientId, seeds: Seeds) -> int:
        uniform = float(seeds.generator(Phase.BUDGET, client=client).random())
        reached = 0.0
        for steps, probability in enumerate(self.probabilities(), start=self.low):
            reached += probability
            if uniform < reached:
                return steps
        return self.high
