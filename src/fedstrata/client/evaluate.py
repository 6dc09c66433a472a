"""Evaluation: sums over rows that add up over clients (means of means are wrong for unequal clients).

Each row's loss is kept until all are there and then added in float64, in the order of the rows: a sum does not depend
on which rows shared a forward pass, as far as the model's own kernels do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedstrata.client.prefix_cache import PrefixCache
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a model makes of some rows, in their order, on the CPU.

    Attributes:
        losses: Training loss of each row in nats; shape ``[rows]``, float64.
        guessed: Predicted label; shape ``[rows]``, int64.
        labels: True label; shape ``[rows]``, int64.
    """

    losses: Tensor
    guessed: Tensor
    labels: Tensor

    def sums(self) -> tuple[float, int]:
        """Return the summed loss and the number of rows predicted right.

        Example:
            >>> Judged(torch.ones(2).double(), torch.tensor([1, 1]), torch.tensor([0, 1])).sums()
            (2.0, 1)
        """
        return float(self.losses.sum()), int((self.guessed == self.labels).sum())

    def split(self, sizes: list[int]) -> tuple[Judged, ...]:
        """Return consecutive parts of these sizes."""
        parts = zip(*(t.split(sizes) for t in (self.losses, self.guessed, self.labels)), strict=True)
        return tuple(Judged(*part) for part in parts)


def evaluate(
    model: ResidentModel,
    weights: Weights,
    *,
    rows: TensorRows,
    indices: Tensor,
    batch_size: int,
    cache: PrefixCache | None = None,
) -> tuple[float, int]:
    """Return the summed loss (nats) and the number of rows predicted right; of no rows, both are 0.

    Args:
        model: The resident model.
        weights: Global weights.
        rows: All rows at hand.
        indices: The rows to evaluate.
        batch_size: Images or texts per forward pass; a question has a text for every choice.
        cache: Where outputs of layers that training does not change are kept; the result is the same to the bit.
    """
    return judge(model, weights, rows=rows, indices=indices, batch_size=batch_size, cache=cache).sums()


@torch.no_grad()
def judge(
    model: ResidentModel,
    weights: Weights,
    *,
    rows: TensorRows,
    indices: Tensor,
    batch_size: int,
    cache: PrefixCache | None = None,
) -> Judged:
    """Return what the model makes of each row; the arguments are those of ``evaluate``.

    Example:
        See ``tests/client/test_evaluate.py``.
    """
    labels = rows.labels[indices]
    if not len(indices):
        return Judged(torch.zeros(0, dtype=torch.float64), labels, labels)  # networks need not take a batch of nothing
    model.mount(weights)
    model.set_evaluation()
    passes = list(rows.passes(indices, batch_size))
    found = [_judged(model, weights, rows, batch, cache) for batch in passes]
    losses, guessed = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    order, back = torch.cat(passes).argsort(), indices.argsort().argsort()  # of the rows as passed, and as asked
    return Judged(losses[order][back], guessed[order][back], labels)


def _judged(
    model: ResidentModel, weights: Weights, rows: TensorRows, batch: Tensor, cache: PrefixCache | None
) -> tuple[Tensor, Tensor]:
    inputs, labels = rows.judged(batch)
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
    logits = cache.judged(weights, rows, batch, inputs) if cache else model.logits(inputs)
    return model.objective.judge(logits, inputs, labels.to(model.device))
