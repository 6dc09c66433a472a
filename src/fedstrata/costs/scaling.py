"""From measured batch shapes to any other: what is counted is linear in rows and, for texts, quadratic in length.

Attention is the quadratic part; every other layer is linear in the number of tokens. So three measured lengths give the
operations of all lengths exactly, and their memory closely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedstrata.costs.protocol import Batch
from fedstrata.domain.profile import Counts, StepProfile
from fedstrata.errors import ConfigError

Floats = NDArray[np.float64]


def weights(profiles: Sequence[StepProfile], batches: Iterable[Batch]) -> Floats:
    """Return how often each measured profile has to be counted to make up the batches. Shape ``[profiles]``.

    Lagrange interpolation in the length, per row of the batch.

    Raises:
        ConfigError: Texts priced by a profile without length, or the other way round.
    """
    sizes = [p.length for p in profiles]
    measured = np.array([p.rows for p in profiles], dtype=np.float64)
    total = np.zeros(len(profiles))
    for rows, length in batches:
        if (length is None) != (sizes[0] is None):
            raise ConfigError("the model's step was measured for another kind of input than the clients' rows")
        total += rows * _basis(sizes, length) / measured
    return total


def at(profiles: Sequence[StepProfile], batch: Batch) -> StepProfile:
    """Return the profile of another batch shape."""
    part = weights(profiles, [batch])

    def mixed(name: str) -> Counts:
        values = np.array([getattr(p, name) for p in profiles], dtype=np.float64)
        mix: Counts = np.maximum(np.rint(np.tensordot(part, values, 1)), 0).astype(np.int64)
        return mix

    return replace(
        profiles[0],
        rows=batch[0],
        length=batch[1],
        forward=mixed("forward"),
        carry=mixed("carry"),
        weight=mixed("weight"),
        saved=mixed("saved"),
        saved_extra=mixed("saved_extra"),
        forward_peak=mixed("forward_peak"),
        backward_peak=mixed("backward_peak"),
        batch_bytes=int(mixed("batch_bytes")),
    )


def _basis(sizes: Sequence[int | None], length: int | None) -> Floats:
    """Return the value of each Lagrange polynomial at a length."""
    if length is None or len(sizes) == 1:
        return np.asarray(np.eye(len(sizes))[0])
    known = np.array(sizes, dtype=np.float64)
    ratios = [(length - np.delete(known, i)) / (own - np.delete(known, i)) for i, own in enumerate(known)]
    return np.array([np.prod(ratio) for ratio in ratios])
