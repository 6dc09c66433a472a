"""What a cost model is: it prices masks, not layers, since back-propagation reaches the lowest selected layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fedstrata.domain.cost import ClientRound
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.prices import Prices
from fedstrata.domain.profile import StepProfile, TrainerCost
from fedstrata.wire.messages import ProbePlan, TrainPlan

Batch = tuple[int, int | None]
"""Rows of a batch, and its padded length or ``None``."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one client computes in a round, before any mask: its batches.

    Attributes:
        train: Rows and padded length of each local step's batch; length ``None`` for images.
        probe: The same for the probe's backward passes.
        longest: Length of the client's longest text; rounds shuffle, so any batch may hold it.
    """

    train: tuple[Batch, ...]
    probe: tuple[Batch, ...] = ()
    longest: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Everything that a price may depend on.

    Attributes:
        layers: The model's blocks.
        train: How clients train.
        probe: How clients measure, with the statistics that the score needs.
        workloads: Each client's batches.
        devices: Machines of the clients whose speed is known.
        profiles: Measures the model's step, once, when asked; one profile for images, several lengths for texts.
        parameter_bytes: Bytes of the whole model, buffers included.
        trainer: What the trainer asks of a client besides.
    """

    layers: LayerMap
    train: TrainPlan
    probe: ProbePlan
    workloads: Mapping[ClientId, Workload]
    devices: Mapping[ClientId, DeviceProfile] = field(default_factory=dict)
    profiles: Callable[[], tuple[StepProfile, ...]] = tuple
    parameter_bytes: int = 0
    trainer: TrainerCost = field(default_factory=TrainerCost)


class Pricing(Protocol):
    """Knows the price of every mask."""

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        """Return what each mask asks of the client in one round; monotone in the mask."""
        ...


class CostModel(Protocol):
    """A way to price, before it knows model and clients."""

    def bind(self, facts: Facts) -> Pricing:
        """Return the prices of a run."""
        ...
