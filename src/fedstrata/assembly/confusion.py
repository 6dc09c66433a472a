"""Which classes the final model mistakes for which, on the server's test rows."""

from __future__ import annotations

import json

from fedstrata.assembly.prepared import PreparedRun
from fedstrata.client.confusion import confusion
from fedstrata.files import write_atomic
from fedstrata.models.objective import Classification
from fedstrata.server.run import RunResult


def write_confusion(prepared: PreparedRun, result: RunResult) -> None:
    """Write true class, predicted class and number of test rows; nothing for questions, which have no classes."""
    if not isinstance(prepared.resident.objective, Classification) or not len(prepared.data.test):
        return
    names = list(prepared.data.card.labels)
    counts = confusion(prepared.test.judged(result.weights), len(names))
    triples = [[int(t), int(g), int(counts[t, g])] for t, g in zip(*counts.nonzero(), strict=True)]
    values = {"round": result.summary["rounds"], "labels": names, "counts": triples}
    write_atomic(prepared.folder.confusion, json.dumps(values))
