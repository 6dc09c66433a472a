"""Outliers: clients whose training loss or update is far from that of the others in the same rounds.

A client whose labels are wrong keeps a high loss while the others' falls. In every round of the last half of a run
the logarithm of a client's value is compared with the median of those who took part; its mean over its rounds is set
against the spread of all clients, measured by the median absolute deviation, which a few odd ones do not move. The
limit is higher where clients are few, so that honest clients of equal data are named in about one run of a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt
from statistics import fmean, median

from fedstrata.domain.formatting import number
from fedstrata.domain.records import ClientRecord
from fedstrata.runs.records import Log

FEWEST = 8
"""Clients below which nobody can be said to stand out."""
_TO_DEVIATION = 1.4826
"""What makes the median absolute deviation of normal values their standard deviation."""
_LEAST_SPREAD, _LEAST_RATIO = 0.05, 1.25
"""Spread (of logarithms) that is always granted, and the ratio to the median below which nobody is named."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A client that stands out.

    Attributes:
        client: Its name.
        what: ``loss`` or ``update``.
        value: Its typical value in the rounds compared.
        others: The median client's.
    """

    client: str
    what: str
    value: float
    others: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        ratio = f"{number(self.value)} where the median client has {number(self.others)}"
        if self.what == "loss":
            return f"{self.client} stands out: its training loss is {ratio}; look at its labels"
        return f"{self.client} stands out: the norm of its updates is {ratio}; look at its rows and its values"


def outliers(log_: Log) -> tuple[Outlier, ...]:
    """Return the clients that stand out, losses first; none where there are too few clients to tell.

    Example:
        See ``tests/report/test_report_outliers.py``.
    """
    always = frozenset(log_.header.always)
    kinds: Mapping[str, Callable[[ClientRecord], float | None]] = {
        "loss": lambda client: client.loss_mean,
        "update": lambda client: _norm(client, always),
    }
    rounds = log_.committed[len(log_.committed) // 2 :]
    turns = [[c for c in record.clients if c.failure is None] for record in rounds]
    return tuple(found for what, of in kinds.items() for found in _far(what, [_logs(t, of) for t in turns]))


def _norm(client: ClientRecord, always: frozenset[str]) -> float | None:
    """Return the norm of what every client trains, so that masks of different sizes can be compared."""
    norms = [norm for name, norm in client.update_norms.items() if name in always]
    return sqrt(sum(norm**2 for norm in norms)) if norms else None


def _logs(turns: Sequence[ClientRecord], of: Callable[[ClientRecord], float | None]) -> dict[str, float]:
    values = {client.client: of(client) for client in turns}
    return {name: log(value) for name, value in values.items() if value is not None and isfinite(value) and value > 0}


def _far(what: str, rounds: Sequence[Mapping[str, float]]) -> Iterator[Outlier]:
    """Yield the clients far above the others; each round is a mapping from client to the logarithm of its value."""
    above: dict[str, list[float]] = {}
    middles = [median(values.values()) for values in rounds if values]
    for values in rounds:
        for name, value in values.items():
            above.setdefault(name, []).append(value - median(values.values()))
    if len(above) < FEWEST:
        return
    means = {name: fmean(differences) for name, differences in above.items()}
    middle = median(means.values())
    spread = max(_TO_DEVIATION * median(abs(m - middle) for m in means.values()), _LEAST_SPREAD)
    for name, mean in sorted(means.items()):
        if mean - middle > max(limit(len(means)) * spread, log(_LEAST_RATIO)):
            others = exp(median(middles) + middle)
            yield Outlier(name, what, others * exp(mean - middle), others)


def limit(clients: int) -> float:
    """Return how many deviations above the median a client may lie.

    Of normal values the largest passes it in about 1 of 100 draws, from 8 clients to 100.

    Example:
        >>> limit(8), limit(24)
        (8.0, 6.0)
    """
    return 5.0 + 24.0 / clients
