"""What a run carries from round to round: the checkpoint, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import ClientId
from fedstrata.domain.versions import Versions
from fedstrata.selectors.protocol import SelectorState
from fedstrata.wire.messages import Apart, Origin, StateVersion, Weights

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Best:
    """The best round so far, chosen on the clients' held-out rows, never on the test set.

    Attributes:
        round: Number of the round, from 1; 0 is the starting point.
        validation: Accuracy on the held-out rows of all clients, which chose it.
        accuracy: Test accuracy at that round.
        chosen_on: ``held-out``.
    """

    round: int
    validation: float
    accuracy: float
    chosen_on: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client's probe said, as selectors read it; one aggregate old where it was piggybacked on an update.

    Attributes:
        round: The round at whose start the weights were that they were measured at.
        loss: Mean loss over the probed rows.
        scores: One per selectable layer.
        sketches: One per selectable layer, where sketches were asked for.
    """

    round: int
    loss: float
    scores: tuple[float, ...]
    sketches: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class StateVersions:
    """The versions of a client's own state that the run may need; the states are where the client trains.

    Attributes:
        newest: Left by its last training that counted.
        saved: The newest one in the last checkpoint, if it had one by then.
        before: That in a checkpoint before, which serves where the last one cannot be read.

    Example:
        >>> one = StateVersions((0, 0)).at_checkpoint().trained((3, 1))
        >>> one.named, one.at_checkpoint().named, one.at_checkpoint().at_checkpoint().named
        (((3, 1), (0, 0)), ((3, 1), (0, 0)), ((3, 1), (0, 0)))
        >>> one.at_checkpoint().trained((4, 0)).trained((5, 0)).named
        ((5, 0), (3, 1), (0, 0))
    """

    newest: StateVersion
    saved: StateVersion | None = None
    before: StateVersion | None = None

    @property
    def named(self) -> tuple[StateVersion, ...]:
        """What a request names: the newest first, none twice."""
        return tuple(dict.fromkeys(v for v in (self.newest, self.saved, self.before) if v is not None))

    def trained(self, version: StateVersion) -> StateVersions:
        """Return the versions after another piece of training counted."""
        return replace(self, newest=version)

    def at_checkpoint(self) -> StateVersions:
        """Return the versions as a new checkpoint has them."""
        return self if self.newest == self.saved else StateVersions(self.newest, self.newest, self.saved)


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state before round ``round``.

    Attributes:
        round: Rounds that are done; the next one is called by one more where people read it.
        weights: Trainable tensors.
        selector: The selector's memory.
        aggregator: The aggregator's memory.
        versions: The blocks' content hashes, and which of them each client holds.
        best: Best round so far.
        attempt: How often the next round was abandoned already.
        run: Name of the run; messages of other runs do not count.
        piggybacked: What was measured for the next round and sent with the updates of the one before it, by client,
            ascending by name.
        states: Versions of the clients' own states, where clients keep any.
    """

    round: Count
    weights: Annotated[Weights, Apart]
    selector: Annotated[SelectorState, Apart]
    aggregator: Annotated[AggregatorState, Apart]
    versions: Versions = field(default_factory=Versions)
    best: Best | None = None
    attempt: Count = 0
    run: str = ""
    piggybacked: Mapping[ClientId, Measured] = field(default_factory=dict)
    states: Mapping[ClientId, StateVersions] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """Origin of the messages of the next round."""
        return Origin(self.run, self.attempt, self.versions.base)
