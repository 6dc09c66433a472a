"""Contests: methods side by side under one row, size and budget, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from fedstrata.comparison.intervals import Estimate, Paired
from fedstrata.comparison.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Rules:
    """How outcomes are compared.

    Attributes:
        reference: The method that others are compared with; by default ``consensus``, else the first.
        target: Accuracy that is to be reached, in [0, 1].
        oracle: Pattern of method names that are single fixed layers, such as ``layer *``.
        budgets: The budgets that are compared; empty for all.
        by_mean: Whether methods stand by mean accuracy, best first, and not as they came.
    """

    reference: str | None = None
    target: float | None = None
    oracle: str | None = None
    budgets: tuple[str, ...] = ()
    by_mean: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """What it took to reach the target.

    Attributes:
        seeds: How many seeds came to it.
        bytes_up: Mean over these seeds of the upload at the first evaluated round at or above it.
        flops: The same of operations; ``None`` where they are not priced.
    """

    seeds: int
    bytes_up: float | None
    flops: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One method in one comparison.

    Attributes:
        label: What it is called here.
        method: Name of the method.
        outcomes: One per seed, ascending.
        accuracy: Mean over the seeds; ``None`` where none was evaluated.
        loss: Likewise, in nats; ``None`` too where one of the seeds has no finite loss.
        against: Its difference in accuracy to the reference; ``None`` for the reference itself.
        adjusted: The p of this difference after Holm over the methods of the comparison.
        loss_against: Its difference in loss to the reference, in nats.
        to_oracle: Its difference to the oracle.
        to_full: Its difference to full fine-tuning.
        reached: What the target took; ``None`` where there is no target.
    """

    label: str
    method: str
    outcomes: tuple[Outcome, ...]
    accuracy: Estimate | None
    loss: Estimate | None = None
    against: Paired | None = None
    adjusted: float | None = None
    loss_against: Paired | None = None
    to_oracle: Paired | None = None
    to_full: Paired | None = None
    reached: Reached | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(outcome.seed for outcome in self.outcomes)

    @property
    def accuracies(self) -> dict[int, float]:
        """Accuracy by seed, of the seeds that were evaluated."""
        return {o.seed: o.accuracy for o in self.outcomes if o.accuracy is not None}

    @property
    def losses(self) -> dict[int, float]:
        """Loss by seed, of the seeds that were evaluated; none if one is not finite, since the rest would flatter."""
        found = {o.seed: o.loss for o in self.outcomes if o.loss is not None}
        return found if all(map(isfinite, found.values())) else {}

    def mean(self, of: Callable[[Outcome], float | None]) -> float | None:
        """Return the mean over the seeds that have the number."""
        known = [value for outcome in self.outcomes if (value := of(outcome)) is not None]
        return fmean(known) if known else None


@dataclass(frozen=True, slots=True)
class Contest:
    """All methods of one row, size and budget.

    Attributes:
        reference: Label of the reference; ``None`` where it did not run here.
        lines: The methods.
        candidates: The single layers that the oracle was chosen from.
        target: See ``Rules``.
        notes: What a reader must know, one sentence each.
    """

    row: str
    size: str
    budget: str
    reference: str | None
    lines: tuple[Line, ...]
    candidates: tuple[Line, ...] = ()
    target: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is compared, such as ``digits, small, budget R1``."""
        parts = [self.row, self.size, f"budget {self.budget}" if self.budget else ""]
        return ", ".join(part for part in parts if part)

    @property
    def has_oracle(self) -> bool:
        """Whether one of the lines is the oracle."""
        return bool(self.candidates)
