"""Which classes a classifier mistakes for which: counts of true and predicted labels, which add up over rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.wire.messages import Weights


@torch.no_grad()
def confusion(
    model: ResidentModel, weights: Weights, *, rows: TensorRows, indices: Tensor, batch_size: int, classes: int
) -> NDArray[np.int64]:
    """Return how many rows of each class were predicted as which; the class with the largest logit is predicted.

    Args:
        model: The resident model of a classifier.
        weights: Global weights.
        rows: All rows at hand.
        indices: The rows to look at.
        batch_size: Rows per forward pass.
        classes: How many there are.

    Returns:
        Shape ``[classes, classes]``: true label, predicted label.

    Example:
        See ``tests/client/test_confusion.py``.
    """
    counts = torch.zeros(classes * classes, dtype=torch.int64)
    if len(indices):
        model.mount(weights)
        model.set_evaluation()
    for batch in rows.passes(indices, batch_size) if len(indices) else ():
        inputs, labels = rows.judged(batch)
        found = model.logits({k: v.to(model.device) for k, v in inputs.items()}).float().argmax(dim=-1).cpu()
        counts += torch.bincount(labels.cpu() * classes + found, minlength=classes * classes)
    return counts.view(classes, classes).numpy()
