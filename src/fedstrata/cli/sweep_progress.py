"""Progress of a sweep: bars on a terminal, a line per run elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from fedstrata.cli.terminal import say, wrapping
from fedstrata.comparison.results import Outcome
from fedstrata.domain.formatting import megabytes
from fedstrata.report.progress import time_left
from fedstrata.sweeping.jobs import Job
from fedstrata.sweeping.observers import Quiet, SweepObserver


def observer_of(console: Console, *, quiet: bool) -> SweepObserver:
    """Return the observer that shows the progress on a console."""
    if quiet:
        return Quiet()
    return SweepProgress(console, bars=console.is_terminal and not os.environ.get("CI"))


@dataclass(slots=True)
class Pace:
    """How far a sweep is, and how long it takes; counted in rounds, since runs may be half done.

    Attributes:
        runs: Runs of this session that have ended.
        of: Runs that this session has to play.
        earlier: Runs that were done before.
        total: Rounds to play.
        done: Rounds of runs that have ended.
        played: Rounds that this session has played.
    """

    of: int = 0
    earlier: int = 0
    total: int = 0
    runs: int = 0
    done: int = 0
    played: int = 0
    started: float = field(default_factory=monotonic)

    def eta(self, under_way: int) -> str:
        """Return the time left.

        Args:
            under_way: Rounds done of runs that have not ended.

        Example:
            >>> Pace(of=4, total=40, started=monotonic() - 60, runs=2, done=20, played=20).eta(0)
            '0:01:00'
        """
        if not self.played:
            return time_left(None)
        return time_left((monotonic() - self.started) / self.played * (self.total - self.done - under_way))


class SweepProgress:
    """One line per run that has ended, with accuracy, bytes, seconds and time left; and bars if there is a terminal."""

    def __init__(self, console: Console, *, bars: bool) -> None:
        self._console, self._pace = console, Pace()
        self._rounds: dict[int, int] = {}
        self._begun: dict[int, float] = {}
        self._bars: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=wrapping()),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False, table_column=wrapping()),
            console=console,
            disable=not bars,
        )

    def sweep_started(self, *, todo: Sequence[Job], done: int, workers: int) -> None:
        """Say what is to be done, and open the bars."""
        self._pace = Pace(of=len(todo), earlier=done, total=sum(job.rounds for job in todo))
        if done:
            say(self._console, f"{done} runs are done, {len(todo)} to play")
        self._progress.start()
        self._all = self._progress.add_task("sweep", total=self._pace.total, facts="")
        for number in range(workers):
            self._bars[number] = self._progress.add_task(f"worker {number + 1}", total=None, facts="")

    def run_given(self, worker: int, job: Job) -> None:
        """Begin the worker's bar anew."""
        self._begun[worker] = monotonic()
        self._progress.reset(self._bars[worker], total=job.rounds, description=job.title, facts="")

    def rounds_done(self, worker: int, job: Job, rounds: int) -> None:
        """Move the bars."""
        before = self._rounds.get(worker)
        if before is not None:
            self._pace.played += rounds - before
        self._rounds[worker] = rounds
        under_way = sum(self._rounds.values())
        self._progress.update(self._bars[worker], completed=rounds)
        self._progress.update(
            self._all, completed=self._pace.done + under_way, facts=f"ETA {self._pace.eta(under_way)}"
        )

    def run_finished(self, worker: int, job: Job, outcome: Outcome | None) -> None:
        """Say what came out."""
        found = "" if outcome is None or outcome.accuracy is None else f"accuracy {outcome.accuracy:.3f}  "
        up = "" if outcome is None else f"{megabytes(outcome.bytes_up)} MB up  "
        self._ended(worker, job, f"{found}{up}{monotonic() - self._begun[worker]:.1f} s")

    def run_failed(self, worker: int, job: Job, reason: str) -> None:
        """Say why."""
        self._ended(worker, job, f"failed: {reason}")

    def run_left(self, worker: int, job: Job, why: str) -> None:
        """Say why."""
        self._rounds.pop(worker, None)
        say(self._progress.console, f"{job.title}  {why}")

    def sweep_done(self) -> None:
        """Close the bars."""
        self._progress.stop()

    def _ended(self, worker: int, job: Job, facts: str) -> None:
        pace = self._pace
        self._rounds.pop(worker, None)
        pace.runs, pace.done = pace.runs + 1, pace.done + job.rounds
        count = f"{pace.earlier + pace.runs}/{pace.earlier + pace.of}"
        eta = pace.eta(sum(self._rounds.values()))
        say(self._progress.console, f"{count}  {job.title}  {facts}  ETA {eta}")
