"""Which rows a client's work draws: shuffled one by one, or in fixed groups that are only ever used whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, inf

import numpy as np
import torch
from torch import Tensor

from fedstrata.domain.stats import Statistic
from fedstrata.errors import ClientError
from fedstrata.wire.messages import ProbePlan, TrainPlan


def local_steps(plan: TrainPlan, rows: int, together: int = 1) -> int:
    """Return how many local steps a plan takes on so many rows, as ``client/train.py: batches`` cuts them.

    Args:
        plan: Steps or epochs, and the batch size.
        rows: The client's training rows.
        together: Rows of the groups that are only used whole; 1 shuffles single rows.

    Example:
        >>> local_steps(TrainPlan(epochs=2, batch_size=8), 20), local_steps(TrainPlan(steps=5, epochs=None), 20)
        (6, 5)
    """
    per_batch = max((plan.batch_size or rows) // together, 1)
    each = ceil(max(rows // together, 1) / per_batch)
    return int(min(inf if plan.steps is None else plan.steps, inf if plan.epochs is None else plan.epochs * each))


def groups_of(indices: Tensor, together: int) -> tuple[Tensor, ...]:
    """Return rows in groups of ``together``, in their order; what is left over joins the last group.

    Example:
        >>> [len(group) for group in groups_of(torch.arange(11), 4)]
        [4, 7]
    """
    groups: tuple[Tensor, ...] = indices.split(together)
    if len(groups) > 1 and len(groups[-1]) < together:
        return (*groups[:-2], torch.cat(groups[-2:]))
    return groups


def passes_of_groups(indices: Tensor, together: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield the batches of one pass over shuffled groups: as many groups per batch as ``size`` rows hold, at least one.

    Example:
        >>> [len(b) for b in passes_of_groups(torch.arange(12), 2, 5, np.random.default_rng(0))]
        [4, 4, 4]
    """
    groups = groups_of(indices, together)
    order, each = rng.permutation(len(groups)).tolist(), max(size // together, 1)
    for start in range(0, len(order), each):
        yield torch.cat([groups[i] for i in order[start : start + each]])


def probed_rows(indices: Tensor, plan: ProbePlan, rng: np.random.Generator, together: int = 1) -> Tensor:
    """Return the rows that a probe measures, in drawn order.

    Args:
        indices: The client's training rows.
        plan: How many are asked for.
        rng: Their stream.
        together: Rows of a group; the half-batches of ``HALVES`` then are whole groups, too.

    Raises:
        ClientError: No two halves can be made of whole groups.

    Example:
        >>> probed_rows(torch.arange(20), ProbePlan(2, 4), np.random.default_rng(0), together=4).shape
        torch.Size([8])
    """
    if together == 1:
        drawn = indices[torch.from_numpy(rng.permutation(len(indices)))]
        return drawn[: plan.batches * plan.batch_size] if plan.batches else drawn
    groups = groups_of(indices, together)
    order = rng.permutation(len(groups)).tolist()
    most = max(plan.batches * plan.batch_size // together, 1) if plan.batches else len(order)
    chosen = [groups[i] for i in order[:most]]
    return torch.cat(_halved(chosen, together) if Statistic.HALVES in plan.statistics else chosen)


def _halved(chosen: Sequence[Tensor], together: int) -> list[Tensor]:
    """Return an even number of groups of one size, so that their middle parts no group."""
    even = [group for group in chosen if len(group) == together]
    if len(even) < 2:
        raise ClientError(
            f"two halves of the probe need {2 * together} rows, since rows are only used in groups of {together} here;"
            " raise probe.batches or probe.batch_size"
        )
    return even[: len(even) // 2 * 2]
