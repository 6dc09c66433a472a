"""What the server tests itself: the global model on the test rows, after a round and at the end."""

from __future__ import annotations

import torch

from fedstrata.client.evaluate import evaluate
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.records import Metrics
from fedstrata.models.failing import blaming_the_model
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
