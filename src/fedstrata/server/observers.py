"""Observers are told what a run does while it does it. Rounds count from 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord


class Observer(Protocol):
    """Sees a run from outside; must not change it."""

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Called once, before the first round that is played: 1, or the one that a resumed run goes on with."""
        ...

    def round_started(self, round: int, cohort: int) -> None:
        """Called when the cohort is drawn."""
        ...

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Called as each client's reply arrives."""
        ...

    def round_done(self, record: RoundRecord) -> None:
        """Called when a round is committed and evaluated."""
        ...

    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None:
        """Called when too few clients answered; ``again`` if the round is tried once more."""
        ...

    def evaluating(self, round: int) -> None:
        """Called before the weights after ``round`` rounds are evaluated; 0 is the starting point."""
        ...

    def run_done(self, state: str) -> None:
        """Called once, whatever the end: ``finished``, ``interrupted`` or ``failed``."""
        ...


@dataclass(frozen=True, slots=True)
class Quiet:
    """Observes nothing."""

    def run_started(self, *, method: str, first_round: int, rounds: int, baseline: Metrics | None) -> None:
        """Do nothing."""

    def round_started(self, round: int, cohort: int) -> None:
        """Do nothing."""

    def client_done(self, phase: str, client: ClientId, *, done: int, total: int) -> None:
        """Do nothing."""

    def round_done(self, record: RoundRecord) -> None:
        """Do nothing."""

    def round_abandoned(self, facts: Abandoned, *, again: bool) -> None:
        """Do nothing."""

    def evaluating(self, round: int) -> None:
        """Do nothing."""

    def run_done(self, state: str) -> None:
        """Do nothing."""
