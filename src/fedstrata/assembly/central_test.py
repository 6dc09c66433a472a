"""What the server tests itself: the global model on the test rows, after a round and at the end."""

from __future__ import annotations

import torch

from fedstrata.client.evaluate import Judged, judge
from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.client.seen import Seen
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.records import Metrics
from fedstrata.models.failing import blaming_the_model
from fedstrata.wire.messages import Weights


class ServerTest:
    """Evaluates weights on all test rows; the weights that it was given last are not passed through the model again.

    Args:
        model: The resident model.
        data: The test rows are in it.
        batch_size: Images or texts per forward pass.

    Example:
        See ``tests/assembly/test_central_test.py``.
    """

    def __init__(self, model: ResidentModel, data: FederatedData, batch_size: int) -> None:
        self._model, self._rows, self._batch_size = model, data.test, batch_size
        self.cache: PrefixCache | None = None
        """Where outputs of layers that do not change are kept, once a run has begun that keeps any."""
        self._last: tuple[Seen, Judged] | None = None

    def __call__(self, weights: Weights) -> Metrics:
        """Return accuracy and mean loss."""
        loss, correct = self.judged(weights).sums()
        rows = len(self._rows)
        return Metrics(correct / rows, loss / rows, rows)

    def judged(self, weights: Weights) -> Judged:
        """Return what the model makes of each row.

        Raises:
            ModelError: The model fails on the rows.
        """
        if self._last is None or not self._last[0].again(weights):
            rows = self._rows
            with blaming_the_model(self._model.module, rows.inputs):
                indices = torch.arange(len(rows))
                found = judge(
                    self._model, weights, rows=rows, indices=indices, batch_size=self._batch_size, cache=self.cache
                )
            self._last = Seen(weights), found
        return self._last[1]
