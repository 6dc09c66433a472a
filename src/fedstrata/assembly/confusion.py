"""Which classes the final model mistakes for which, on the server's test rows."""

from __future__ import annotations

import json

import torch

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.client.confusion import confusion
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import FederatedData
from fedstrata.files import write_atomic
from fedstrata.models.objective import Classification
from fedstrata.server.run import RunResult
from fedstrata.wire.messages import Weights


def write_confusion(prepared: PreparedRun, result: RunResult) -> None:
    """Write which classes the final model mistakes for which on the test rows."""
    size = prepared.loaded.config.evaluate.batch_size
    counts = count_confusion(prepared.resident, prepared.data, result.weights, size)
    if counts is not None:
        names = list(prepared.data.card.labels)
        values = {"round": result.summary["rounds"], "labels": names, "counts": counts}
        write_atomic(prepared.folder.confusion, json.dumps(values))


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
