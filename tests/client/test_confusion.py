"""True and predicted labels, counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedstrata.client.confusion import confusion
from fedstrata.client.evaluate import evaluate, judge
from toys import toy_model, toy_rows


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_counts_are_those_of_every_row_whatever_the_batch(batch_size: int) -> None:
    model, rows, indices = toy_model(), toy_rows(40, seed=9), torch.arange(5, 40)
    weights = model.weights()
    counts = confusion(judge(model, weights, rows=rows, indices=indices, batch_size=batch_size), 3)
    assert counts.shape == (3, 3)
    assert counts.sum(axis=1).tolist() == torch.bincount(rows.labels[5:], minlength=3).tolist()
    assert int(np.trace(counts)) == evaluate(model, weights, rows=rows, indices=indices, batch_size=64)[1]


def test_of_no_rows_there_are_no_counts() -> None:
    model = toy_model()
    nothing = torch.arange(0)
    counts = confusion(judge(model, model.weights(), rows=toy_rows(4), indices=nothing, batch_size=8), 3)
    assert counts.tolist() == [[0, 0, 0]] * 3
