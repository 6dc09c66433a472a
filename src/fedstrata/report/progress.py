"""Progress of a run as lines of text, one per round: for logs, pipes and servers without a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from fedstrata.domain.formatting import megabytes
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord


def time_left(seconds: float | None) -> str:
    """Return the time that is left, everywhere in the same form; ``None`` is not known yet.

    Example:
        >>> time_left(3725.4), time_left(None)
        ('1:02:05', '-:--:--')
    """
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@dataclass(slots=True)
class Totals:
    """What has been done so far, and how long it takes."""

    rounds: int = 0
    first: int = 1
    bytes_up: int = 0
    started: float = 0.0

    @property
    def up(self) -> str:
        """Name of the sum of bytes: a resumed run counts from where it goes on."""
        return f"up since round {self.first}" if self.first > 1 else "up"

    def eta(self, done: int) -> str:
        """Return the time left, judged by the rounds that this session played."""
        played = done - self.first + 1
        return time_left((monotonic() - self.started) / played * (self.rounds - done) if played > 0 else None)


def abandoned(facts: Abandoned, *, again: bool) -> str:
    """Return what happened to a round that too few clients answered.

    Example:
        >>> print(abandoned(Abandoned(2, 0, "train", 2, 3, "..."), again=True))
        round 2  abandoned: 2 clients left after train, 3 needed; trying again
    """
    left = f"{facts.answered} clients left after {facts.phase}, {facts.needed} needed"
    counts = Counter(facts.failures.values())
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    reasons, onward = f" ({why})" if why else "", "; trying again" if again else ""
    return f"round {facts.round}  abandoned: {left}{reasons}{onward}"


class PlainProgress:
    """One line per round, for logs and pipes."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._totals = Totals()

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Say where the run starts."""
        self._totals = Totals(rounds, first_round, started=monotonic())
        start = f", accuracy {baseline.accuracy:.3f} before training" if baseline else ""
        self._write(f"{method}: rounds {first_round} to {rounds}{start}")

    def round_started(self, round: int, cohort: int) -> None:
        """Say nothing."""

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Say nothing."""

    def round_done(self, record: RoundRecord) -> None:
        """Say what the round did."""
        t, done = self._totals, record.round
        t.bytes_up += record.bytes_up
        failed = sum(1 for c in record.clients if c.failure)
        parts = [
            f"round {done}/{t.rounds}{'' if record.committed else '  skipped'}",
            f"accuracy {record.test.accuracy:.3f} loss {record.test.loss:.3f}" if record.test else "not evaluated",
            f"clients {len(record.clients) - failed}/{len(record.clients)}",
            f"{t.up} {megabytes(t.bytes_up)} MB",
            f"peak {record.peak_bytes / 2**20:,.0f} MiB",
            f"{record.seconds:.1f} s",
            f"ETA {t.eta(done)}",
        ]
        self._write("  ".join(parts))

    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None:
        """Say why, and what follows."""
        self._totals.bytes_up += facts.bytes_up
        self._write(abandoned(facts, again=again))

    def evaluating(self, round: int) -> None:
        """Say that the run has begun, since the first line of progress comes after the first evaluation."""
        if round == 0:
            self._write("evaluating the starting point")

    def run_done(self, state: str) -> None:
        """Say nothing: the session's last line says it."""
