"""Evaluation: sums over rows that add up over clients (means of means are wrong for unequal clients)."""

from __future__ import annotations

import torch
from torch import Tensor

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.wire.messages import Weights


@torch.no_grad()
def evaluate(
    model: ResidentModel, weights: Weights, *, rows: TensorRows, indices: Tensor, batch_size: int
) -> tuple[float, int]:
    """Return the summed loss (nats) and the number of rows predicted right; of no rows, both are 0.

    Args:
        model: The resident model.
        weights: Global weights.
        rows: All rows at hand.
        indices: The rows to evaluate.
        batch_size: Images or texts per forward pass; a question has a text for every choice.
    """
    if not len(indices):
        return 0.0, 0  # networks need not take a batch of nothing
    model.mount(weights)
    model.set_evaluation()
    loss, correct = 0.0, 0
    for batch in rows.passes(indices, batch_size):
        inputs, labels = rows.judged(batch)
        inputs = {k: v.to(model.device) for k, v in inputs.items()}
        lost, right = model.objective.judge(model.logits(inputs), inputs, labels.to(model.device))
        loss += lost
        correct += right
    return loss, correct
