"""A frozen base in half its bytes: frozen blocks in bfloat16, everything that is trained in float32.

Products are then made in bfloat16 (autocast) in training, probes and evaluation alike; gradients, updates and losses
stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import nn

from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.models.form import Base

_FIRST: WeakKeyDictionary[nn.Module, nn.Parameter | None] = WeakKeyDictionary()
"""The first parameter in bfloat16 of every network that was asked for one: to find that there is none takes half as
long as a forward pass of two rows through a small network."""


def set_base(model: nn.Module, layers: LayerMap, base: Base) -> LayerMap:
    """Hold the frozen blocks of a model as asked, in place, and return the blocks with their new sizes.

    Args:
        model: The network in float32, on any device (``meta`` included).
        layers: Its blocks.
        base: ``bf16``, or ``fp32``, which changes nothing.

    Example:
        >>> from fedstrata.models.partition import partition
        >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2))
        >>> found = set_base(net, partition(net), "bf16")
        >>> net[0].weight.dtype, net[1][0].weight.dtype, found.never[0].bytes
        (torch.bfloat16, torch.float32, 72)
    """
    if base == "fp32":
        return layers
    _FIRST.pop(model, None)
    named = dict(model.named_parameters())
    for block in layers.never:
        for tensor in block.tensors:
            parameter = named[tensor.name]
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(torch.bfloat16)

    def sized(block: Layer) -> Layer:
        tensors = (replace(tensor, itemsize=named[tensor.name].element_size()) for tensor in block.tensors)
        return replace(block, tensors=tuple(tensors))

    return replace(layers, never=tuple(map(sized, layers.never)))


@contextmanager
def mixed(model: nn.Module, *, cached: bool = True) -> Iterator[None]:
    """Have a model with a base in bfloat16 multiply in it while the body runs; other models are left as they are.

    Args:
        model: The network.
        cached: Whether what a trained weight is as bfloat16 is remembered while the body runs.
    """
    if model not in _FIRST:
        _FIRST[model] = next((p for p in model.parameters() if p.dtype is torch.bfloat16), None)
    first = _FIRST[model]
    if first is None or torch.is_autocast_enabled(first.device.type):
        yield
        return
    with torch.autocast(first.device.type, dtype=torch.bfloat16, cache_enabled=cached):
        yield
