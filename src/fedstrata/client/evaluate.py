"""Evaluation: sums over rows that add up over clients (means of means are wrong for unequal clients)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.messages import Weights


@torch.no_grad()
def evaluate(
    model: ResidentModel, weights: Weights, *, rows: TensorRows, indices: Tensor, batch_size: int
) -> tuple[float, int]:
    """Return the summed loss (nats) and the number of rows classified correctly; of no rows, both are 0."""
    if not len(indices):
        return 0.0, 0  # networks need not take a batch of nothing
    model.mount(weights)
    model.set_evaluation()
    loss, correct = 0.0, 0
    for batch in rows.by_length(indices).split(batch_size):
        inputs, labels = rows.take(batch)
        logits = model.logits({k: v.to(model.device) for k, v in inputs.items()}).float()
        labels = labels.to(model.device)
        loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=-1) == labels).sum())
    return loss, correct
