"""Observers are told what a sweep does while it does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedstrata.comparison.results import Outcome
from fedstrata.server.observers import nothing
from fedstrata.sweeping.jobs import Job


class SweepObserver(Protocol):
    """Sees a sweep from outside; must not change it."""

    def sweep_started(self, *, todo: Sequence[Job], done: int, workers: int) -> None:
        """Called once: so many runs are done, and these are still to be played."""
        ...

    def run_given(self, worker: int, job: Job) -> None:
        """Called when a worker, counted from 0, gets a run."""
        ...

    def rounds_done(self, worker: int, job: Job, rounds: int) -> None:
        """Called after each round with how many are done; the first time before any, with those done earlier."""
        ...

    def run_finished(self, worker: int, job: Job, outcome: Outcome | None) -> None:
        """Called when a run has finished; the outcome of its line, if the line is whole now."""
        ...

    def run_failed(self, worker: int, job: Job, reason: str) -> None:
        """Called when a run has failed."""
        ...

    def run_left(self, worker: int, job: Job, why: str) -> None:
        """Called when a run ends early with everything saved: it goes on later."""
        ...

    def sweep_done(self) -> None:
        """Called once, whatever the end."""
        ...


@dataclass(frozen=True, slots=True)
class Quiet:
    """Observes nothing but what it is given a function for."""

    sweep_started: Callable[..., None] = nothing
    run_given: Callable[..., None] = nothing
    rounds_done: Callable[..., None] = nothing
    run_finished: Callable[..., None] = nothing
    run_failed: Callable[..., None] = nothing
    run_left: Callable[..., None] = nothing
    sweep_done: Callable[..., None] = nothing
