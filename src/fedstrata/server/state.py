"""What a run carries from round to round: the checkpoint, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.messages import Weights
from fedstrata.selectors.protocol import SelectorState
from fedstrata.server.method import Setting
from fedstrata.server.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Best:
    """The best round so far, chosen on the clients' held-out rows, never on the test set.

    Attributes:
        round: 0-based round; -1 is the starting point.
        validation: Accuracy on the held-out rows of all clients, which chose it.
        accuracy: Test accuracy at that round.
        chosen_on: ``held-out``.
    """

    round: int
    validation: float
    accuracy: float
    chosen_on: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state before round ``round``.

    Attributes:
        round: 0-based number of the next round.
        weights: Trainable tensors.
        selector: The selector's memory.
        aggregator: The aggregator's memory.
        traffic: Which layers each client holds.
        best: Best round so far.
    """

    round: int
    weights: Weights
    selector: SelectorState
    aggregator: AggregatorState
    traffic: Traffic = field(default_factory=Traffic)
    best: Best | None = None


def initial_state(setting: Setting, weights: Weights) -> ServerState:
    """Return the state of a run that has not begun."""
    return ServerState(
        round=0,
        weights=weights,
        selector=setting.method.selector.init(setting.layers),
        aggregator=setting.method.aggregator.init(weights, setting.layers),
    )
