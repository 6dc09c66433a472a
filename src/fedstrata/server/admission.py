"""Admission: an update is validated whole before one number of it is accumulated."""

from __future__ import annotations

import torch

from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.messages import Failure, Update, Weights


def admit(update: Update, mask: Mask, layers: LayerMap, weights: Weights) -> Failure | None:
    """Return why an update is refused, or ``None`` if it is exactly what was asked for.

    Args:
        update: What the client sent.
        mask: What the client was asked to train.
        layers: The model's layers.
        weights: Global weights, for shapes.
    """

    def refuse(reason: str, message: str) -> Failure:
        return Failure(update.client, update.round, "train", reason, message)

    expected = {t.name for t in layers.tensors_of(mask)}
    if update.mask != mask or set(update.deltas) != expected:
        odd = sorted(set(update.deltas) ^ expected)[:3]
        return refuse("SCHEMA", f"the update holds other tensors than its mask: {odd}")
    if update.num_examples <= 0:
        return refuse("SCHEMA", f"the update claims {update.num_examples} training rows; it needs at least one")
    for name, delta in update.deltas.items():
        if delta.shape != weights[name].shape:
            return refuse("SCHEMA", f"{name} has shape {tuple(delta.shape)}, expected {tuple(weights[name].shape)}")
        if not bool(torch.isfinite(delta).all()):
            return refuse("NONFINITE", f"{name} holds values that are not finite")
    return None
