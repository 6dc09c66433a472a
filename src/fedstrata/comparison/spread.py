"""The worst, the median and the best accuracy of clients on their own held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from fedstrata.runs.records import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """Accuracies of the clients after one round."""

    worst: float
    median: float
    best: float


def spread_of(accuracies: Mapping[str, float]) -> Spread:
    """Return worst, median and best.

    Example:
        >>> spread_of({"a": 0.25, "b": 0.5, "c": 1.0})
        Spread(worst=0.25, median=0.5, best=1.0)
    """
    values = list(accuracies.values())
    return Spread(min(values), median(values), max(values))


def spread(run: Run) -> Spread | None:
    """Return the spread after the last round that measured it."""
    for record in reversed(run.log.rounds):
        if record.client_accuracy:
            return spread_of(record.client_accuracy)
    return None
