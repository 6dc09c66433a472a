"""What the clients of a whole run gave: predicted operations, measured time, and the largest peak of memory."""

from __future__ import annotations

from collections.abc import Iterator

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
