"""What the clients of a whole run gave and reached: operations, time, peak memory, layers, and their accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from fedstrata.domain.formatting import short_names
from fedstrata.domain.records import ClientRecord
from fedstrata.runs.records import Run


def turns(run: Run) -> Iterator[ClientRecord]:
    """Yield every client-round of the whole rounds."""
    return (client for record in run.log.rounds for client in record.clients)


def predicted_flops(run: Run) -> float | None:
    """Return the operations of all masks that were priced, or ``None`` if none was; no run counts them as it goes."""
    priced = [client.predicted["flops"] for client in turns(run) if "flops" in client.predicted]
    return sum(priced) if priced else None


def seconds_of(client: ClientRecord) -> float:
    """Return the time that a client spent in a round, on probing and training."""
    return client.seconds_probe + client.seconds_train


def client_seconds(run: Run) -> float:
    """Return the time that all clients spent on probing and training."""
    return sum(seconds_of(client) for client in turns(run))


def largest_peak(run: Run) -> int | None:
    """Return the most memory that any client held, or ``None`` if it was never measured."""
    return max((client.peak_bytes for client in turns(run) if client.peak_bytes is not None), default=None)


def layers_chosen(runs: Sequence[Run], *, most: int = 2) -> str:
    """Return how many layers a client trained per round, and which were chosen most, in a few words.

    The shares are of all client-rounds of all runs; runs of one method have the same layers.
    """
    masks = [c.mask for run in runs for r in run.log.rounds for c in r.clients]
    layers = runs[0].log.header.layers
    if not masks or not layers:
        return "nothing ran"
    average = fmean(len(m) for m in masks)
    if average == 0:
        return f"0 of {len(layers)}"
    if average == len(layers):
        return f"all {len(layers)}"
    counts = [sum(i in m for m in masks) for i in range(len(layers))]
    top = [i for i in sorted(range(len(layers)), key=lambda i: -counts[i]) if counts[i]][:most]
    names = short_names(layers)
    shares = ", ".join(f"{names[i]} {100 * counts[i] / len(masks):.0f}%" for i in top)
    return f"{average:.3g} of {len(layers)}: {shares}"


@dataclass(frozen=True, slots=True)
class Spread:
    """The worst, the median and the best accuracy of clients on their own held-out rows after one round."""

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
