"""Plans of what goes wrong: by chance, for a share of the clients, or for one message; the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import floor
from typing import Protocol

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Phase, Seeds
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import PhaseName, Request, phase_of

EVERY_PHASE: frozenset[PhaseName] = frozenset({"probe", "train", "evaluate"})
_PHASES: Mapping[PhaseName, Phase] = {"probe": Phase.PROBE, "train": Phase.TRAIN, "evaluate": Phase.EVALUATE}


class Kind(StrEnum):
    """What can go wrong with one message."""

    LOSE_REQUEST = "lose_request"
    """The client is never asked."""
    CRASH = "crash"
    """The client's work fails: a ``Failure`` comes instead of an answer."""
    LOSE_REPLY = "lose_reply"
    """The client does its work, and its answer never arrives."""
    DELAY = "delay"
    """The answer takes ``amount`` seconds longer."""
    REORDER = "reorder"
    """The answer arrives at any moment within twice the latency."""
    DUPLICATE = "duplicate"
    """The answer comes ``amount`` times more."""
    CONFLICT = "conflict"
    """A second, different answer comes after the first."""
    STALE = "stale"
    """An answer to an earlier round, to another run or from other weights comes first."""
    NONFINITE = "nonfinite"
    """One value, in the last tensor if there are tensors, is NaN or infinite."""
    HUGE = "huge"
    """One value, in the last tensor if there are tensors, is 1e38."""
    WRONG_SHAPE = "wrong_shape"
    """The last tensor has a value too many, a layer's statistics are missing, or more rows are right than there are."""
    WRONG_NAME = "wrong_name"
    """The last tensor of an update has another name."""
    ROWS_LIE = "rows_lie"
    """The client claims ``amount`` times its rows."""
    SCORE_LIE = "score_lie"
    """The client claims ``amount`` times its gradient statistics."""
    MISNAME = "misname"
    """The message names another client than the one that sent it."""
    TRUNCATE = "truncate"
    """The frame ends early."""
    FLIP = "flip"
    """One bit of the frame is the other way round."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one message.

    Attributes:
        amount: Seconds of a delay, copies of a duplicate, factor of a lie; otherwise of no meaning.
    """

    kind: Kind
    amount: float = 1.0


class Plan(Protocol):
    """Says what goes wrong with the requests of one phase and their answers."""

    def draw(self, requests: Sequence[Request], seed: int) -> Mapping[ClientId, Sequence[Fault]]:
        """Return the faults of each client that has any; the same for the same seed, in whatever order."""
        ...


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults by chance, independent of each other: probabilities per message, but for the amounts.

    Attributes:
        delay: Mean extra seconds of every answer, exponentially distributed.
        copies: How often a duplicate comes again.
        factor: Of a lie about rows or scores.
        phases: The phases that are hit.

    Example:
        >>> from fedstrata.wire.messages import Evaluate
        >>> ask = [Evaluate(ClientId(c), 0, {}) for c in "abcd"]
        >>> {c: [str(f.kind) for f in faults] for c, faults in Faults(crash=0.5).draw(ask, seed=0).items()}
        {'c': ['crash']}
    """

    lose_request: float = 0.0
    crash: float = 0.0
    lose_reply: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    conflict: float = 0.0
    stale: float = 0.0
    nonfinite: float = 0.0
    huge: float = 0.0
    wrong_shape: float = 0.0
    wrong_name: float = 0.0
    rows_lie: float = 0.0
    score_lie: float = 0.0
    misname: float = 0.0
    truncate: float = 0.0
    flip: float = 0.0
    delay: float = 0.0
    copies: int = 1
    factor: float = 1000.0
    phases: frozenset[PhaseName] = EVERY_PHASE

    def __post_init__(self) -> None:
        """Refuse what is no probability.

        Raises:
            ConfigError: A probability is not between 0 and 1, or the delay is negative.
        """
        for f in fields(self)[: len(Kind) - 1]:
            if not 0 <= getattr(self, f.name) <= 1:
                raise ConfigError(f"Faults has {f.name}: {getattr(self, f.name)}; a probability is between 0 and 1")
        if self.delay < 0:
            raise ConfigError(f"Faults has delay: {self.delay}; it must be 0 seconds or more")

    def draw(self, requests: Sequence[Request], seed: int) -> Mapping[ClientId, Sequence[Fault]]:
        """Draw for each client from a stream of its own."""
        drawn = {r.client: self._of(stream(seed, r, r.client)) for r in requests if phase_of(r) in self.phases}
        return {client: faults for client, faults in drawn.items() if faults}

    def _of(self, rng: np.random.Generator) -> list[Fault]:
        """Draw for every kind, likely or not, so that no probability moves the draws of another."""
        found = []
        for kind, chance in zip(Kind, rng.random(len(Kind)), strict=True):
            if kind is not Kind.DELAY and chance < getattr(self, kind):
                found.append(Fault(kind, self._amount(kind)))
        seconds = float(rng.exponential(self.delay))
        return [*found, Fault(Kind.DELAY, seconds)] if seconds else found

    def _amount(self, kind: Kind) -> float:
        if kind is Kind.DUPLICATE:
            return self.copies
        return self.factor if kind in (Kind.ROWS_LIE, Kind.SCORE_LIE) else 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """One fault for an exact share of the clients, drawn anew for each phase of each round.

    Attributes:
        share: Of the clients that are asked, rounded down: 0.3 of 10 are 3, of 9 are 2.
        phases: The phases that are hit.

    Example:
        >>> from fedstrata.wire.messages import Evaluate
        >>> ask = [Evaluate(ClientId(c), 0, {}) for c in "abcdefghij"]
        >>> len(Share(0.3, Fault(Kind.LOSE_REPLY)).draw(ask, seed=0))
        3
    """

    share: float
    fault: Fault
    phases: frozenset[PhaseName] = EVERY_PHASE

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigError: The share is not between 0 and 1.
        """
        if not 0 <= self.share <= 1:
            raise ConfigError(f"Share has share: {self.share}; it must be between 0 and 1")

    def draw(self, requests: Sequence[Request], seed: int) -> Mapping[ClientId, Sequence[Fault]]:
        """Draw the clients that are hit, all at once."""
        asked = sorted({r.client for r in requests if phase_of(r) in self.phases})
        if not asked:
            return {}
        count = floor(self.share * len(asked) + 1e-9)
        hit = stream(seed, requests[0], "").permutation(len(asked))[:count]
        return {asked[i]: [self.fault] for i in sorted(hit)}


@dataclass(frozen=True, slots=True)
class Exactly:
    """Faults of named messages, in every attempt of the round.

    Attributes:
        faults: What goes wrong with a phase, a round (0-based) and a client.

    Example:
        >>> from fedstrata.wire.messages import Evaluate
        >>> plan = Exactly({("evaluate", 2, ClientId("c3")): [Fault(Kind.LOSE_REPLY)]})
        >>> [len(plan.draw([Evaluate(ClientId("c3"), round, {})], seed=0)) for round in (1, 2, 3)]
        [0, 1, 0]
    """

    faults: Mapping[tuple[PhaseName, int, ClientId], Sequence[Fault]] = field(default_factory=dict)

    def draw(self, requests: Sequence[Request], seed: int) -> Mapping[ClientId, Sequence[Fault]]:
        """Look up each request; nothing is left to the seed."""
        found = {r.client: self.faults.get((phase_of(r), r.round, r.client)) for r in requests}
        return {client: faults for client, faults in found.items() if faults}


def stream(seed: int, request: Request, name: str) -> np.random.Generator:
    """Return a random stream for a name within one attempt of one phase; it never meets a stream of the run itself."""
    name = f"fault {request.origin.attempt} {name}"
    return Seeds(seed).generator(_PHASES[phase_of(request)], round=request.round, client=name)
