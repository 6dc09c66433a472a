"""Which classes a classifier mistakes for which: counts of true and predicted labels, which add up over rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fedstrata.client.evaluate import Judged


def confusion(judged: Judged, classes: int) -> NDArray[np.int64]:
    """Return how many rows of each class were predicted as which.

    Args:
        judged: What a classifier made of the rows.
        classes: How many there are.

    Returns:
        Shape ``[classes, classes]``: true label, predicted label.

    Example:
        See ``tests/client/test_confusion.py``.
    """
    counts = torch.bincount(judged.labels * classes + judged.guessed, minlength=classes * classes)
    return counts.view(classes, classes).numpy()
