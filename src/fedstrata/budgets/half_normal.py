"""Heterogeneous budgets: a half-normal law truncated to the whole numbers low..high.

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

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import BudgetError


@dataclass(frozen=True, slots=True)
class HalfNormal:
    """Most clients can pay for few layers, a few for many.

    Attributes:
        low: Smallest budget in layers, at least 0.
        high: Largest budget in layers.
        scale: Standard deviation, in layers, of the normal whose half is taken; at least ``(high - low) / 4``, so that
            ``high`` really occurs. By default ``(high - low + 1) / 2``.

    Example:
        >>> [round(p, 3) for p in HalfNormal(low=1, high=4).probabilities()]
        [0.401, 0.314, 0.192, 0.092]
    """

    low: int
    high: int
    scale: float | None = None

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

    @property
    def width(self) -> float:
        """The scale in use, in layers."""
        return (self.high - self.low + 1) / 2 if self.scale is None else self.scale

    def probabilities(self) -> tuple[float, ...]:
        """Return the probability of each budget from low to high."""
        marks = [erf(j / self.width / sqrt(2)) for j in range(self.high - self.low + 2)]
        return tuple((right - left) / marks[-1] for left, right in pairwise(marks))

    def assign(self, clients: Sequence[ClientId], seeds: Seeds) -> Mapping[ClientId, Cost]:
        """Return one draw per client, from the client's own stream."""
        return {client: Cost(layers=float(self._draw(client, seeds))) for client in clients}

    def _draw(self, client: ClientId, seeds: Seeds) -> int:
        uniform = float(seeds.generator(Phase.BUDGET, client=client).random())
        reached = 0.0
        for budget, probability in enumerate(self.probabilities(), start=self.low):
            reached += probability
            if uniform < reached:
                return budget
        return self.high
