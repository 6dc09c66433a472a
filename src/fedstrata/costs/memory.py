"""Peak memory of a round: one row per moment of a local step that may be the peak.

A step holds the model, clones of the trained tensors, the optimizer's state and the batch throughout. While block j
runs forward it also holds what the blocks up to j have saved; while j runs backward, that and the gradients of the
trained blocks from j on; during the update, all gradients and what the update needs besides. A trainer may add
copies of what is trained, a moment in which a batch is changed, and one in which the client's state is written.
Every moment is a set-up part by the lowest layer plus a sum over the mask, so the peak is the largest of such rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.domain.profile import ALWAYS, StepProfile, TrainerCost
from fedstrata.domain.stats import Statistic
from fedstrata.domain.training import MOMENTS
from fedstrata.wire.messages import TrainPlan

Floats = NDArray[np.float64]

_HASHED, _SKETCHING = 2, 16
"""Bytes of a sketch's hash per number of the layers, and of what is worked on per number of a tensor."""

TEMPORARIES = {"sgd": 0, "momentum": 0, "adamw": 2}
"""Copies of the tensor being updated that an update makes for the moment."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Bytes held at each moment; ``setup`` has a last column for the empty mask.

    Attributes:
        setup: By lowest layer; shape ``[moments, layers + 1]``.
        each: By trained layer; shape ``[moments, layers]``.
    """

    setup: Floats
    each: Floats


def training(
    profile: StepProfile,
    layers: LayerMap,
    plan: TrainPlan,
    *,
    parameters: int,
    trainer: TrainerCost = TrainerCost(),  # noqa: B008  a value
) -> Moments:
    """Return the moments of a local step.

    Args:
        profile: The measured step.
        layers: The model's blocks.
        plan: Optimizer.
        parameters: Bytes of the whole model, buffers included.
        trainer: What the trainer asks for besides.
    """
    own, shared = _bytes(layers.layers), float(_bytes(layers.always).sum())
    copies = 1 + MOMENTS[plan.optimizer] + trainer.held_copies
    held = np.full(len(layers) + 1, parameters + profile.batch_bytes + copies * shared)
    extra = _spread(profile, profile.saved_extra)
    saved = np.cumsum(profile.saved - np.vstack([extra.T, np.zeros(len(profile.blocks))]), axis=1)
    more = np.cumsum(extra, axis=0)  # the lowest layer's own is in ``saved`` and was taken out of it above
    gradients, shared_gradients = _gradients(profile, layers)
    forward = Moments(held + (saved + profile.forward_peak).T, copies * own + more)
    backward = Moments(
        held + (saved + profile.backward_peak).T + _onwards(shared_gradients)[:, None],
        copies * own + more + _onwards(gradients),
    )
    update = Moments((held + shared)[None], ((copies + 1) * own)[None])
    updating = replace(update, setup=update.setup + _temporaries(layers, plan, trainer.temporaries))
    return together([forward, backward, updating, *_of_trainer(profile, layers, trainer, update, parameters)])


def _of_trainer(
    profile: StepProfile, layers: LayerMap, trainer: TrainerCost, update: Moments, parameters: int
) -> list[Moments]:
    """Return the moments that a trainer adds: making a batch, when all is held that an update holds; writing a state.

    By the time that a state is written the steps are over: of what was trained the update is left, and the state is
    that of every layer that the client ever trained, which may be all; it is read one tensor at a time.
    """
    own, shared, found = _bytes(layers.layers), float(_bytes(layers.always).sum()), list[Moments]()
    if trainer.batch_copies or trainer.row_copies:
        made = profile.batch_bytes * (trainer.batch_copies + trainer.row_copies / profile.rows)
        found.append(Moments(update.setup + made, update.each))
    if trainer.kept_copies:
        kept = parameters + shared + trainer.kept_copies * (own.sum() + shared) + _largest(layers.trainable)
        found.append(Moments(np.full((1, len(own) + 1), kept), own[None]))
    return found


def probing(
    profile: StepProfile,
    layers: LayerMap,
    statistics: frozenset[Statistic],
    *,
    passes: int,
    parameters: int,
    sketched: bool = False,
) -> float:
    """Return the peak of the probe, which no mask changes: every selectable layer's gradient, reduced as it appears.

    Args:
        profile: The measured step, for the probe's batch.
        layers: The model's blocks.
        statistics: What is measured; all but plain norms keep gradients of earlier rows.
        passes: Backward passes; from the second on, sums of gradients are kept.
        parameters: Bytes of the whole model, buffers included.
        sketched: Whether gradients are sketched: a hash is kept, and one tensor at a time is worked on in float64.
    """
    own = _bytes(layers.layers)
    kept = (2 if Statistic.SAMPLES in statistics else 0) + (1 if Statistic.HALVES in statistics else 0)
    kept = max(kept, 1 if passes > 1 else 0)
    saved = np.cumsum(profile.saved[0]) + np.cumsum(_spread(profile, profile.saved_extra)[:, 1:].sum(axis=1))
    largest = _largest(layers.layers)
    moment = np.maximum(saved + profile.forward_peak[0], saved + profile.backward_peak[0] + 2 * largest)
    hashes = _HASHED * sum(block.parameters for block in layers.layers) if sketched else 0
    working = _SKETCHING * max((t.elements for b in layers.layers for t in b.tensors), default=0) if sketched else 0
    return float(parameters + profile.batch_bytes + kept * own.sum() + hashes + moment.max(initial=0.0) + working)


def _bytes(blocks: Sequence[Layer]) -> Floats:
    return np.array([block.bytes for block in blocks], dtype=np.float64)


def _largest(blocks: Sequence[Layer]) -> float:
    return float(max((t.bytes for block in blocks for t in block.tensors), default=0))


def _temporaries(layers: LayerMap, plan: TrainPlan, corrections: int) -> Floats:
    """Return the scratch memory of correction and update, bytes by lowest layer; each takes one tensor at a time."""
    each = max(TEMPORARIES[plan.optimizer] + (plan.weight_decay > 0 and plan.optimizer != "adamw"), corrections)
    largest = np.full(len(layers) + 1, max(_largest(layers.layers), _largest(layers.always)))
    largest[-1] = _largest(layers.always)
    return each * largest


def _gradients(profile: StepProfile, layers: LayerMap) -> tuple[Floats, Floats]:
    """Return the bytes of gradients that each block makes, ``[blocks, layers]`` and, for ``always``, ``[blocks]``."""
    sizes = {block.name: float(block.bytes) for block in layers.trainable}
    made = np.array([sizes.pop(name, 0.0) for name in profile.blocks])
    return _spread(profile, made), np.where(np.array(profile.layer) == ALWAYS, made, 0.0)


def _spread(profile: StepProfile, values: NDArray[np.generic]) -> Floats:
    """Return a value per block as a column per layer. Shape ``[blocks, layers]``."""
    table = np.zeros((len(profile.blocks), profile.layers))
    for row, layer in enumerate(profile.layer):
        if layer >= 0:
            table[row, layer] = values[row]
    return table


def _onwards(values: Floats) -> Floats:
    """Return the sum of each row and all after it."""
    return np.cumsum(values[::-1], axis=0)[::-1]


def together(parts: Sequence[Moments]) -> Moments:
    """Return all moments but those that another moment exceeds for every mask."""
    setup = np.concatenate([p.setup for p in parts])
    each = np.concatenate([p.each for p in parts])
    order = np.argsort(-setup.max(axis=1) - each.sum(axis=1), kind="stable")
    kept: list[int] = []
    for row in order:
        if not any((setup[k] >= setup[row]).all() and (each[k] >= each[row]).all() for k in kept):
            kept.append(int(row))
    return Moments(setup[sorted(kept)], each[sorted(kept)])
