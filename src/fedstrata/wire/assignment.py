"""What the server asked of one client in one phase, and so what its answer has to be, to the last name and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Layer, LayerMap, Mask
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import NOWHERE, Evaluate, Origin, PhaseName, Probe, ProbePlan, Request, Train
from fedstrata.wire.sizes import Encoding


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a contribution one: the same key never counts twice."""

    run: str
    round: int
    attempt: int
    phase: PhaseName
    client: ClientId
    base: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """One client's work.

    Attributes:
        phase: ``probe``, ``train`` or ``evaluate``.
        mask: Layers to train; empty outside training.
        blocks: Training: the mask's layers in order, then ``always``. Probe: every selectable layer.
        encoding: How the deltas are sent.
        num_examples: Training rows that the client declared when the run began, for an evaluation the rows that it
            holds out; ``None`` where they are not known.
        max_norm: Largest Euclidean norm of an update.
        statistics: What a probe measures.
        sketch: Numbers of the sketch of each layer that it sends besides; 0 for none.
        piggybacked: The probe whose answer is piggybacked on the update; ``None`` where none does.
    """

    client: ClientId
    round: int
    phase: PhaseName
    origin: Origin = NOWHERE
    mask: Mask = frozenset()
    blocks: tuple[Layer, ...] = ()
    encoding: Encoding = Encoding.FLOAT32
    num_examples: int | None = None
    max_norm: float = inf
    statistics: frozenset[Statistic] = frozenset({Statistic.NORM})
    sketch: int = 0
    piggybacked: Assignment | None = None

    @property
    def key(self) -> Key:
        """The contribution's key."""
        return Key(self.origin.run, self.round, self.origin.attempt, self.phase, self.client, self.origin.base)

    @property
    def tensors(self) -> int:
        """Number of tensors that an answer tells of."""
        own = sum(len(block.tensors) for block in self.blocks)
        return own + (self.piggybacked.tensors if self.piggybacked else 0)

    @property
    def sketched(self) -> int:
        """Numbers of all sketches that an answer holds."""
        return self.sketch * len(self.blocks) + (self.piggybacked.sketched if self.piggybacked else 0)


def probe_of(client: ClientId, round: int, origin: Origin, plan: ProbePlan, layers: LayerMap) -> Assignment:
    """Return the probe of every selectable layer."""
    sketch = plan.sketch.dimension if plan.sketch else 0
    statistics = plan.statistics
    return Assignment(client, round, "probe", origin, blocks=layers.layers, statistics=statistics, sketch=sketch)


def asked_of(request: Request, layers: LayerMap) -> Assignment:
    """Return what a request asks for, without limits of rows and norms."""
    client, round, origin = request.client, request.round, request.origin
    match request:
        case Probe():
            return probe_of(client, round, origin, request.plan, layers)
        case Train():
            probe, blocks = request.probe, layers.blocks(request.mask)
            asked = Assignment(client, round, "train", origin, request.mask, blocks, request.plan.encoding)
            return replace(asked, piggybacked=probe_of(client, round, origin, probe, layers) if probe else None)
        case Evaluate():
            return Assignment(client, round, "evaluate", origin)
