"""What one local step costs, block by block: operations and memory, measured for one batch shape.

The price of a mask is a set-up part that depends on its lowest layer plus a sum over its layers; that holds block by
block for everything measured here, so a profile prices every mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.ids import LayerName

ALWAYS = -1
"""In ``StepProfile.layer``: a block that everyone trains."""
NEVER = -2
"""In ``StepProfile.layer``: a frozen block, or work outside every block."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainerCost:
    """What a trainer asks of a client besides the plain loop with the configured optimizer; nothing by default.

    Attributes:
        batch_copies: Copies of a batch that are alive at once beside it, the one that is trained on among them.
        row_copies: Copies of one row that are made besides, for a moment.
        batch_flops: Operations of making them, per number of the batch.
        held_copies: Copies of each trained tensor that are held throughout.
        temporaries: Copies of a tensor that correcting its gradient takes for a moment, one tensor at a time.
        weight_flops: Operations of the correction per trained weight, in every step.
        weight_touches: Tensors that it reads or writes per trained tensor, in every step.
        kept_copies: Copies of a tensor that the client keeps between rounds, of every tensor that it ever trained.
    """

    batch_copies: int = 0
    row_copies: int = 0
    batch_flops: float = 0.0
    held_copies: int = 0
    temporaries: int = 0
    weight_flops: float = 0.0
    weight_touches: int = 0
    kept_copies: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StepProfile:
    """One forward and backward pass over one batch.

    Rows of ``carry``, ``saved`` and the peaks go by the lowest trained layer: index ``l`` in ``0..layers-1``, and
    index ``layers`` for the empty mask, where only ``always`` blocks train. Columns go by block in order of
    execution; work outside every block, the loss included, is the last one.

    Attributes:
        rows: Rows of the batch.
        length: Tokens per row, or ``None`` for images.
        layers: Number of selectable layers.
        blocks: Names of the executed blocks; work outside every block stands under ``(between blocks)``.
        layer: Index of the selectable layer that each block is, or ``ALWAYS`` or ``NEVER``. Shape ``[blocks]``.
        forward: Floating-point operations of the forward pass. Shape ``[blocks]``.
        carry: Operations of the backward pass that are not weight gradients. Shape ``[layers + 1, blocks]``.
        weight: Operations of the block's own weight gradient where it is trained. Shape ``[blocks]``.
        saved: Bytes kept for the backward pass while no layer but the lowest (and ``always``) is trained; parameters,
            buffers and the batch, which live anyway, are left out, and what two blocks keep counts where it is first
            kept. Shape ``[layers + 1, blocks]``.
        saved_extra: Bytes that a layer above the lowest keeps in addition when it is trained too. Shape ``[blocks]``.
        forward_peak: Bytes that live while the block runs forward and are not kept for the backward pass.
            Shape ``[layers + 1, blocks]``.
        backward_peak: Bytes that live only while the block runs backward, besides its weight gradients. Same shape.
        batch_bytes: Bytes of the batch itself.
    """

    rows: int
    length: int | None
    layers: int
    blocks: tuple[LayerName, ...]
    layer: tuple[int, ...]
    forward: Counts
    carry: Counts
    weight: Counts
    saved: Counts
    saved_extra: Counts
    forward_peak: Counts
    backward_peak: Counts
    batch_bytes: int

    def flops(self, mask: frozenset[int]) -> int:
        """Return the operations of one step that trains this mask and ``always``."""
        lowest = min(mask, default=self.layers)
        trained = [layer in mask or layer == ALWAYS for layer in self.layer]
        return int(self.forward.sum() + self.carry[lowest].sum() + self.weight[trained].sum())
