"""Prices for rows that the server never sees: batches from a number of rows, lengths from the test rows.

The sizes of batches follow from the number of rows. The lengths of a site's texts are not known, so a batch of b texts
is priced as long as the longest of b texts drawn from the server's test rows is on average, and memory, which must hold
in the worst case, for the longest text that there can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from fedstrata.assembly.pricing import probe_passes
from fedstrata.client.batching import local_steps
from fedstrata.costs.protocol import Batch, Workload
from fedstrata.data.tensors import ATTENTION, TensorRows
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import ProbePlan, TrainPlan

MOST_BATCHES = 1_000_000
"""Local steps, or rows of a probe, of one client that can be priced: they are listed before the run."""


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Assumed lengths of texts that lie at sites.

    Attributes:
        seen: Tokens of each test row, ascending. Shape ``[rows]``, int64.
        longest: Tokens of the longest text that there can be.

    Example:
        >>> lengths = Lengths(np.array([2, 4]), longest=32)
        >>> lengths.of(1), lengths.of(2), lengths.of(1000)
        (3, 4, 4)
    """

    seen: NDArray[np.int64]
    longest: int

    def of(self, rows: int) -> int:
        """Return the mean length, rounded up, of the longest of so many texts drawn from the test rows."""
        reached = (np.arange(len(self.seen) + 1) / len(self.seen)) ** rows
        return ceil(float(self.seen @ np.diff(reached)) - 1e-9)


def lengths_of(test: TensorRows, longest: int) -> Lengths | None:
    """Return the lengths of the test rows' texts; ``None`` for images.

    Args:
        test: The server's rows.
        longest: Tokens of the longest text that there can be.
    """
    if ATTENTION not in test.inputs:
        return None
    seen = np.sort(test.inputs[ATTENTION].sum(dim=1).numpy())
    return Lengths(seen, max(longest, int(seen[-1])))


def remote_workload(rows: int, lengths: Lengths | None, *, train: TrainPlan, probe: ProbePlan) -> Workload:
    """Return the batches of a client of which the number of rows is known, and for texts what can be guessed.

    Raises:
        ConfigError: So many rows that their batches cannot be listed.

    Example:
        >>> remote_workload(5, None, train=TrainPlan(epochs=2, batch_size=4), probe=ProbePlan(1, 3)).train
        ((4, None), (1, None), (4, None), (1, None))
    """
    drawn = min(rows, probe.batches * probe.batch_size) if probe.batches else rows
    steps = local_steps(train, rows)
    if max(steps, drawn) > MOST_BATCHES:
        raise ConfigError(
            f"{rows} rows make {steps} local steps and a probe of {drawn} rows, and {MOST_BATCHES} at most can be"
            " priced; give train.steps and probe.batches, or leave the site out"
        )

    @cache
    def shape(count: int) -> Batch:
        return count, None if lengths is None else lengths.of(count)

    return Workload(
        train=tuple(shape(count) for count in _sizes(rows, train, steps)),
        probe=tuple(shape(len(batch)) for batch in probe_passes(torch.arange(drawn), probe)),
        longest=None if lengths is None else lengths.longest,
    )


def _sizes(rows: int, train: TrainPlan, steps: int) -> Iterator[int]:
    """Yield the size of each local step's batch, as ``client/train.py: batches`` cuts them."""
    size = min(train.batch_size or rows, rows)
    each = ceil(rows / size)
    last = rows - size * (each - 1)
    return (last if step % each == each - 1 else size for step in range(steps))
