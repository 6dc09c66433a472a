"""Operations of a round, by what they do: forward, carrying gradients, weight gradients, the update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.costs.protocol import Workload
from fedstrata.costs.scaling import weights
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import ALWAYS, StepProfile

Floats = NDArray[np.float64]

UPDATE_FLOPS = {"sgd": 2, "momentum": 4, "adamw": 12}
"""Operations of an update per parameter."""
UPDATE_TOUCHES = {"sgd": 3, "momentum": 5, "adamw": 7}
"""Tensors that an update reads or writes per trained tensor."""


VISIT_TOUCHES = 6
"""Tensors that a visit reads or writes per trained tensor besides its steps: the clone, the delta, its check."""


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """Operations of some forward and backward passes; by lowest layer with a last entry for the empty mask.

    Attributes:
        steps: Number of passes.
        forward: Forward passes of everything.
        carry: Gradients carried down to the lowest layer. Shape ``[layers + 1]``.
        shared: Weight gradients of ``always``.
        each: Weight gradients of each layer. Shape ``[layers]``.
        batches: Numbers in all batches together.
    """

    steps: int
    forward: float
    carry: Floats
    shared: float
    each: Floats
    batches: float = 0.0


@dataclass(frozen=True, slots=True)
class Updates:
    """Parameters that updates go over in a round.

    Attributes:
        steps: Number of updates.
        shared: Parameters of ``always``.
        each: Parameters of each layer. Shape ``[layers]``.
    """

    steps: int
    shared: float
    each: Floats


def training(profiles: Sequence[StepProfile], workload: Workload) -> Passes:
    """Return the passes of local training."""
    part = weights(profiles, workload.train)
    always = np.array([layer == ALWAYS for layer in profiles[0].layer])
    return Passes(
        steps=len(workload.train),
        forward=_mix(part, [p.forward.sum() for p in profiles]),
        carry=np.tensordot(part, np.array([p.carry.sum(axis=1) for p in profiles], dtype=np.float64), 1),
        shared=_mix(part, [p.weight[always].sum() for p in profiles]),
        each=np.tensordot(part, np.array([_by_layer(p) for p in profiles]), 1),
        batches=_mix(part, [p.batch_bytes / 4 for p in profiles]),
    )


def probing(profiles: Sequence[StepProfile], workload: Workload) -> Passes:
    """Return the passes of the probe: through every selectable layer, whatever the mask; nothing else is trained."""
    part = weights(profiles, workload.probe)
    layers = profiles[0].layers
    return Passes(
        steps=len(workload.probe),
        forward=_mix(part, [p.forward.sum() for p in profiles]),
        carry=np.full(layers + 1, _mix(part, [p.carry[0].sum() for p in profiles])),
        shared=_mix(part, [_by_layer(p).sum() for p in profiles]),
        each=np.zeros(layers),
    )


def updating(layers: LayerMap, steps: int) -> Updates:
    """Return what the optimizer goes over."""
    return Updates(
        steps,
        shared=float(sum(block.parameters for block in layers.always)),
        each=np.array([layer.parameters for layer in layers], dtype=np.float64),
    )


def _mix(part: Floats, values: Sequence[float]) -> float:
    return float(part @ np.array(values, dtype=np.float64))


def _by_layer(profile: StepProfile) -> Floats:
    """Return the weight gradients of each layer. Shape ``[layers]``."""
    found = np.zeros(profile.layers)
    for layer, weight in zip(profile.layer, profile.weight, strict=True):
        if layer >= 0:
            found[layer] += weight
    return found
