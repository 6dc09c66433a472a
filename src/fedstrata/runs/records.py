"""A finished or broken-off run as plain values: what every section of the report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedstrata.domain.card import DataCard
from fedstrata.domain.records import Abandoned, Metrics, RoundRecord


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run says of itself in its first event.

    Attributes:
        layers: Names of the selectable layers, input to output.
        always: Names of the blocks that every client trains.
        never: Names of the frozen blocks.
        layer_bytes: Size of each selectable layer in bytes.
        clients: Names of all clients.
        rounds: Planned number of rounds.
        started: When the run began, ISO 8601.
        run: Name of the run, which its messages and its journal repeat.
    """

    method: str
    seed: int
    model: str
    data: str
    layers: tuple[str, ...]
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    layer_bytes: tuple[int, ...] = ()
    clients: tuple[str, ...] = ()
    rounds: int = 0
    started: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """The event log of one run.

    Attributes:
        baseline_test: Central test metrics before the first round.
        baseline_validation: The same over the clients' held-out rows.
        baseline_losses: By reason, what did not count in the evaluation before the first round.
        rounds: Every whole round, ascending, those that were given up included.
        abandoned: Every attempt that did not count, by round and attempt.
        state: ``finished``, ``interrupted``, ``failed``, or ``broken off`` if the log has no end.
        message: What the end event says.
        resumed: Rounds at which the run was taken up again.
        notes: What was wrong with the file, one sentence each.
    """

    header: RunHeader
    baseline_test: Metrics | None = None
    baseline_validation: Metrics | None = None
    baseline_losses: Mapping[str, int] = field(default_factory=dict)
    rounds: tuple[RoundRecord, ...] = ()
    abandoned: tuple[Abandoned, ...] = ()
    state: str = "broken off"
    message: str | None = None
    resumed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spent(self) -> tuple[RoundRecord | Abandoned, ...]:
        """Everything that cost something: rounds, and attempts that were abandoned."""
        return (*self.rounds, *self.abandoned)

    @property
    def committed(self) -> tuple[RoundRecord, ...]:
        """The rounds that counted."""
        return tuple(r for r in self.rounds if r.committed)

    @property
    def skipped(self) -> tuple[int, ...]:
        """Numbers of the rounds that were given up."""
        return tuple(r.round for r in self.rounds if not r.committed)


@dataclass(frozen=True, slots=True)
class Confusion:
    """True against predicted classes of the server's test rows at the end of a run.

    Attributes:
        round: After which round.
        labels: Names of the classes.
        counts: Rows by true and predicted class; pairs without a row are left out.
    """

    round: int
    labels: tuple[str, ...]
    counts: Mapping[tuple[int, int], int]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder.

    Attributes:
        name: Name of the folder.
        log: Its event log, the single source of every number.
        summary: ``summary.json``; empty if absent.
        config: Text of ``config.resolved.yaml``; ``None`` if absent.
        environment: ``env.json``; empty if absent.
        data_card: ``data_card.json``; ``None`` if absent.
        notes: What is missing, unreadable or contradictory, one sentence each.
        confusion: ``confusion.json``; ``None`` of a run that has not finished, or that has no classes.
    """

    name: str
    log: Log
    summary: Mapping[str, object] = field(default_factory=dict)
    config: str | None = None
    environment: Mapping[str, object] = field(default_factory=dict)
    data_card: DataCard | None = None
    notes: tuple[str, ...] = ()
    confusion: Confusion | None = None
