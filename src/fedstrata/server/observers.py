"""Observers are told what a run does while it does it. Rounds count from 1."""

from __future__ import annotations

from collections.abc import Callable
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


def nothing(*_given: object, **_named: object) -> None:
    """Do nothing, whatever is told."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Observes nothing but what it is given a function for."""

    run_started: Callable[..., None] = nothing
    round_started: Callable[..., None] = nothing
    client_done: Callable[..., None] = nothing
    round_done: Callable[..., None] = nothing
    round_abandoned: Callable[..., None] = nothing
    evaluating: Callable[..., None] = nothing
    run_done: Callable[..., None] = nothing
