"""What the server tests itself: the global model on the test rows, after a round and at the end."""

from __future__ import annotations

import torch

from fedstrata.client.confusion import confusion
from fedstrata.client.evaluate import evaluate
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.records import Metrics
from fedstrata.models.failing import blaming_the_model
from fedstrata.models.objective import Classification
from fedstrata.server.evaluation import CentralTest
from fedstrata.wire.messages import Weights


def central_test(model: ResidentModel, data: FederatedData, batch_size: int) -> CentralTest:
    """Return what evaluates weights on all test rows."""
    indices = torch.arange(len(data.test))

    def test(weights: Weights) -> Metrics:
        with blaming_the_model(model.module, data.test.inputs):
            loss, correct = evaluate(model, weights, rows=data.test, indices=indices, batch_size=batch_size)
        return Metrics(correct / len(indices), loss / len(indices), len(indices))

    return test


def count_confusion(
    model: ResidentModel, data: FederatedData, weights: Weights, batch_size: int
) -> list[list[int]] | None:
    """Return triples of true class, predicted class and test rows; ``None`` for questions, which have no classes."""
    rows, names = data.test, data.card.labels
    if not isinstance(model.objective, Classification) or not len(rows):
        return None
    counts = confusion(
        model, weights, rows=rows, indices=torch.arange(len(rows)), batch_size=batch_size, classes=len(names)
    )
    return [[int(t), int(g), int(counts[t, g])] for t, g in zip(*counts.nonzero(), strict=True)]
