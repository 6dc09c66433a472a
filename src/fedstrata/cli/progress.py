"""Progress of a run on a terminal: a live panel."""

from __future__ import annotations

from time import monotonic

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from fedstrata.domain.formatting import megabytes
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord
from fedstrata.report.progress import Totals, abandoned


class LiveProgress:
    """A panel that shows round, client, ETA, accuracy, bytes up and peak memory as they change."""

    def __init__(self, console: Console) -> None:
        self._totals = Totals()
        self._facts: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
        )
        self._rounds: TaskID | None = None
        self._clients: TaskID | None = None
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._panel)

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Open the panel."""
        self._totals = Totals(rounds, first_round, started=monotonic())
        self._facts = {"method": method, "accuracy": f"{baseline.accuracy:.3f}" if baseline else "-"}
        self._rounds = self._progress.add_task("rounds", total=rounds, completed=first_round - 1)
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
            t.up: f"{megabytes(t.bytes_up)} MB",
            "peak memory": f"{record.peak_bytes / 2**20:,.0f} MiB",
            "failed": f"{failed} of {len(record.clients)}",
            "ETA": t.eta(record.round),
        }
        if self._rounds is not None:
            self._progress.update(self._rounds, completed=record.round)

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
