"""A model ready for federated training: the network, its blocks, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from fedstrata.domain.layers import LayerMap

Task = Literal["image-classification", "text-classification"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network in evaluation mode, float32, on the CPU.

    Attributes:
        model: The network; every parameter can be trained.
        layers: Its blocks.
        source: The folder, or ``module:function``, that it came from.
        task: What it classifies.
        labels: Class names by index.
        new_head: Names of the tensors that were freshly initialised rather than read.
        facts: What its configuration says of its inputs (``model_type``, ``image_size``, ...); empty if custom.
    """

    model: nn.Module
    layers: LayerMap
    source: str
    task: Task
    labels: tuple[str, ...]
    new_head: tuple[str, ...] = ()
    facts: Mapping[str, int | str] = field(default_factory=dict)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the body on its own random stream; the global one goes on as if nothing had happened.

    Example:
        >>> with seeded(3):
        ...     a = torch.rand(())
        >>> with seeded(3):
        ...     bool(torch.rand(()) == a)
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
