"""One place and form in memory for every tensor that is computed with, so that kernels give the same bits everywhere.

A matrix kernel may add in another order when a tensor begins elsewhere modulo a few bytes or lies in another order of
dimensions (on an AMD EPYC, MKL's products of few rows do). Torch's own tensors begin at multiples of 64 bytes; those
read from a file, a message or another library's array begin anywhere. So whatever is loaded, received or mapped goes
through ``aligned`` before a model computes with it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

ALIGNMENT = 64
"""Bytes of a cache line and of the widest vector register: every tensor begins at a multiple."""


def aligned(tensor: Tensor) -> Tensor:
    """Return the tensor if it lies in row-major order from a multiple of ``ALIGNMENT`` on, else a copy that does.

    Example:
        >>> memory = torch.arange(24.0)
        >>> aligned(memory) is memory, aligned(memory[2:]) is memory[2:]
        (True, False)
        >>> bool((aligned(memory[2:]) == memory[2:]).all()), aligned(memory[2:]).data_ptr() % ALIGNMENT
        (True, 0)
    """
    if tensor.data_ptr() % ALIGNMENT == 0 and tensor.stride() == _row_major(tensor.shape):
        return tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor.detach())


def align_module(module: nn.Module) -> None:
    """Align all parameters and buffers of a module, in place; those that share memory share it afterwards.

    Example:
        >>> linear = nn.Linear(4, 2)
        >>> linear.weight.data = torch.arange(9.0)[1:].view(2, 4)
        >>> align_module(linear)
        >>> linear.weight.data_ptr() % ALIGNMENT, linear.weight.tolist()
        (0, [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    """
    moved: dict[tuple[object, ...], Tensor] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if place not in moved:
            moved[place] = aligned(tensor.data)
        if moved[place].data_ptr() != tensor.data_ptr() or moved[place].stride() != tensor.stride():
            tensor.data = moved[place]


@lru_cache(maxsize=4096)
def _row_major(shape: torch.Size) -> tuple[int, ...]:
    """Return the strides that torch gives a new tensor; ``is_contiguous`` does not look at dimensions of size 1."""
    return torch.empty(shape, device="meta").stride()
