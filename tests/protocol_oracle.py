"""An oracle of the protocol: what must come of each message, written apart from the code that decides it.

It knows three things of a client in a phase: open, counted with a variant of its answer, or lost with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

import torch

from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import VirtualClock
from fedstrata.wire.assignment import Assignment, Key
from protocol_model import BLOCKS, rows_of, value_of


@dataclass(frozen=True, slots=True)
class Counted:
    """An outcome: the answer of this variant counts."""

    variant: int
    kept: bool


Outcome = Counted | Reason


@dataclass(slots=True)
class Book:
    """What the journal must hold behind the checkpoint, line by line; ``None`` is a line that is no outcome."""

    lines: list[tuple[Key, Outcome] | None] = field(default_factory=list)
    whole: bool = True
    """Whether no answers were lost: places of lost ones are used again, so a cut would mix up old and new."""

    def known(self, key: Key) -> Outcome | None:
        return next((line[1] for line in reversed(self.lines) if line is not None and line[0] == key), None)

    def note(self, key: Key, outcome: Outcome) -> None:
        """Add the line that the journal must have by now, unless it would say nothing new."""
        if self.known(key) != outcome:
            self.lines.append((key, outcome))

    def forget_answers(self) -> None:
        """Lose the answers that were kept, but not the records of them."""
        self.whole = False
        for at, line in enumerate(self.lines):
            if line is not None and isinstance(line[1], Counted):
                self.lines[at] = (line[0], replace(line[1], kept=False))


@dataclass(slots=True)
class Tally:
    """What must be said of a round: how often each reason came up, and why which client was lost."""

    losses: Counter[str] = field(default_factory=Counter)
    failures: dict[ClientId, Reason] = field(default_factory=dict)


@dataclass(slots=True)
class Oracle:
    """One phase.

    Attributes:
        keeps: Whether the server keeps answers.
        end: When the phase ends on the clock.
        trouble: The last damage of each client, which is its reason if nothing sound follows.
    """

    asked: Mapping[ClientId, Assignment]
    population: Container[ClientId]
    book: Book
    tally: Tally
    clock: VirtualClock
    end: float
    keeps: bool
    outcomes: dict[ClientId, Outcome] = field(default_factory=dict)
    trouble: dict[ClientId, Reason] = field(default_factory=dict)

    def recall(self) -> None:
        """Take over what the journal knows: losses, and answers that were kept."""
        for client, a in self.asked.items():
            outcome = self.book.known(a.key)
            if isinstance(outcome, Reason):
                self.loses(client, outcome)
            elif outcome is not None and outcome.kept:
                self.outcomes[client] = outcome

    def loses(self, client: ClientId, reason: Reason) -> None:
        """Expect a client to be lost."""
        self.outcomes[client] = self.tally.failures[client] = reason
        self.tally.losses[reason] += 1
        self.book.note(self.asked[client].key, reason)

    def answer(self, client: ClientId, variant: int) -> None:
        """Expect what a sound answer to this phase makes."""
        if self._stopped(client):
            return
        outcome = self.outcomes.get(client)
        if outcome is None:
            self.outcomes[client] = Counted(variant, kept=self.keeps)
            self.book.note(self.asked[client].key, self.outcomes[client])
            return
        same = isinstance(outcome, Counted) and outcome.variant == variant
        self.tally.losses[Reason.DUPLICATE if same else Reason.CONFLICT] += 1

    def dropped(self, client: ClientId, reason: Reason, *, damaged: bool = False) -> None:
        """Expect a message that changes nothing for its client, unless it was damage and nothing sound follows."""
        if self._stopped(client):
            return
        if damaged:
            self.trouble[client] = reason
        self.tally.losses[reason] += 1

    def refused(self, client: ClientId, reason: Reason) -> None:
        """Expect an answer that loses its client, if that has no outcome yet."""
        if self._stopped(client):
            return
        outcome = self.outcomes.get(client)
        if outcome is None:
            self.loses(client, reason)
        else:
            self.tally.losses[Reason.CONFLICT if isinstance(outcome, Counted) else Reason.DUPLICATE] += 1

    def close(self) -> None:
        """Expect the end of the phase."""
        for client in self.open:
            self.loses(client, self.trouble.get(client, Reason.LATE))

    def _stopped(self, client: ClientId) -> bool:
        """Expect what comes before the content is looked at: whether the client is asked at all, and the deadline."""
        if client not in self.asked:
            self.tally.losses[Reason.STALE if client in self.population else Reason.AUTH] += 1
        elif not self.late:
            return False
        elif client in self.outcomes:
            self.tally.losses[Reason.LATE] += 1
        else:
            self.loses(client, Reason.LATE)
        return True

    @property
    def late(self) -> bool:
        """Whether the phase's time is over."""
        return self.clock.now() > self.end

    @property
    def open(self) -> tuple[ClientId, ...]:
        """Clients without an outcome."""
        return tuple(c for c in self.asked if c not in self.outcomes)

    @property
    def counted(self) -> dict[ClientId, int]:
        """Variant of each answer that counts, in the order of the cohort."""
        found = {c: self.outcomes.get(c) for c in self.asked}
        return {c: o.variant for c, o in found.items() if isinstance(o, Counted)}

    @property
    def ready(self) -> list[ClientId]:
        """Clients whose answers may be handed on: those before the first that is open."""
        order = list(self.asked)
        before = order[: order.index(self.open[0])] if self.open else order
        return [c for c in before if isinstance(self.outcomes[c], Counted)]


def weighted_mean(
    before: Mapping[TensorName, torch.Tensor],
    asked: Mapping[ClientId, Assignment],
    variants: Mapping[ClientId, int],
    layer_quorum: int,
) -> tuple[dict[TensorName, float], int]:
    """Return what every element of each tensor that moves must be, and how many blocks too few clients trained.

    Every element of a tensor has the same value, so one number stands for it.
    """
    after, few = {}, 0
    for b in BLOCKS:
        name = b.tensors[0].name
        by = [asked[c] for c in variants if b in asked[c].blocks]
        sent = [(rows_of(a.client), value_of(a.client, a.round, a.origin.attempt, variants[a.client])) for a in by]
        if by and len(by) >= layer_quorum:
            mean = sum(n * v for n, v in sent) / sum(n for n, _ in sent)
            after[name] = float(before[name].flatten()[0]) + mean
        few += 0 < len(by) < layer_quorum
    return after, few
