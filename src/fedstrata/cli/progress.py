"""Progress of a run: a live panel on a terminal, one plain line per round elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord


def megabytes(count: float) -> str:
    """Return bytes as people read them.

    Example:
        >>> megabytes(1_234_567), megabytes(900)
        ('1.23 MB', '0.00 MB')
    """
    return f"{count / 1e6:,.2f} MB"


@dataclass(slots=True)
class _Totals:
    rounds: int = 0
    first: int = 0
    bytes_up: int = 0
    started: float = 0.0

    @property
    def up(self) -> str:
        """Name of the sum of bytes: a resumed run counts from where it goes on."""
        return f"up since round {self.first}" if self.first else "up"

    def eta(self, done: int) -> str:
        """Return the time left, judged by the rounds that this session played."""
        played = done - self.first
        if played <= 0:
            return "--:--"
        seconds = int((monotonic() - self.started) / played * (self.rounds - done))
        return f"{seconds // 60:02d}:{seconds % 60:02d}"


def abandoned(facts: Abandoned, *, again: bool) -> str:
    """Return what happened to a round that too few clients answered; rounds count from 1 here.

    Example:
        >>> print(abandoned(Abandoned(1, 0, "train", 2, 3, "..."), again=True))
        round 2  abandoned: 2 clients left after train, 3 needed; trying again
    """
    left = f"{facts.answered} clients left after {facts.phase}, {facts.needed} needed"
    counts = Counter(facts.failures.values())
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    reasons, onward = f" ({why})" if why else "", "; trying again" if again else ""
    return f"round {facts.round + 1}  abandoned: {left}{reasons}{onward}"


class PlainProgress:
    """One line per round, for logs and pipes."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._totals = _Totals()

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Say where the run starts."""
        self._totals = _Totals(rounds, first_round, started=monotonic())
        start = f", accuracy {baseline.accuracy:.3f} before training" if baseline else ""
        self._write(f"{method}: rounds {first_round + 1} to {rounds}{start}")

    def round_started(self, round: int, cohort: int) -> None:
        """Say nothing."""

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Say nothing."""

    def round_done(self, record: RoundRecord) -> None:
        """Say what the round did."""
        t, done = self._totals, record.round + 1
        t.bytes_up += record.bytes_up
        failed = sum(1 for c in record.clients if c.failure)
        parts = [
            f"round {done}/{t.rounds}{'' if record.committed else '  skipped'}",
            f"accuracy {record.test.accuracy:.3f} loss {record.test.loss:.3f}" if record.test else "not evaluated",
            f"clients {len(record.clients) - failed}/{len(record.clients)}",
            f"{t.up} {megabytes(t.bytes_up)}",
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


class LiveProgress:
    """A panel that shows round, client, ETA, accuracy, bytes up and peak memory as they change."""

    def __init__(self, console: Console) -> None:
        self._totals = _Totals()
        self._facts: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._rounds: TaskID | None = None
        self._clients: TaskID | None = None
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._panel)

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Open the panel."""
        self._totals = _Totals(rounds, first_round, started=monotonic())
        self._facts = {"method": method, "accuracy": f"{baseline.accuracy:.3f}" if baseline else "-"}
        self._rounds = self._progress.add_task("rounds", total=rounds, completed=first_round)
        self._clients = self._progress.add_task("clients", total=None)
        self._live.start()

    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None:
        """Say above the panel why, and what follows."""
        self._totals.bytes_up += facts.bytes_up
        self._live.console.print(abandoned(facts, again=again), markup=False, soft_wrap=True)

    def evaluating(self, round: int) -> None:
        """Show that the clients are done and the weights are being evaluated."""
        if self._clients is not None:
            self._progress.reset(self._clients, total=None, description="evaluate")
        else:
            self._live.console.print("evaluating the starting point", style="dim")

    def round_started(self, round: int, cohort: int) -> None:
        """Start the client bar anew."""
        if self._clients is not None:
            self._progress.reset(self._clients, total=cohort, description="clients")

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Move the client bar."""
        if self._clients is not None:
            self._progress.update(self._clients, description=phase, completed=done, total=total)
        self._facts["client"] = str(client)

    def round_done(self, record: RoundRecord) -> None:
        """Show what the round did."""
        t = self._totals
        t.bytes_up += record.bytes_up
        if record.test:
            self._facts["accuracy"] = f"{record.test.accuracy:.3f}"
            self._facts["loss"] = f"{record.test.loss:.3f}"
        failed = sum(1 for c in record.clients if c.failure)
        self._facts |= {
            t.up: megabytes(t.bytes_up),
            "peak memory": f"{record.peak_bytes / 2**20:,.0f} MiB",
            "failed": f"{failed} of {len(record.clients)}",
            "ETA": t.eta(record.round + 1),
        }
        if self._rounds is not None:
            self._progress.update(self._rounds, completed=record.round + 1)

    def run_done(self, state: str) -> None:
        """Close the panel, leaving its last picture."""
        if self._clients is not None:
            self._progress.remove_task(self._clients)
        self._live.stop()

    def _panel(self) -> Table:
        facts = [Text.assemble((name, "dim"), " ", value, no_wrap=True) for name, value in self._facts.items()]
        panel = Table.grid()
        panel.add_row(self._progress)
        panel.add_row(Columns(facts, padding=(0, 2)))  # as many in a line as the terminal holds
        return panel
