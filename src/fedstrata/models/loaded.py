"""A model ready for federated training: the network, its blocks, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from fedstrata.domain.layers import LayerMap
from fedstrata.memory_alignment import align_module
from fedstrata.models.form import PLAIN, Form, Task
from fedstrata.models.objective import OBJECTIVES, Objective


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network in evaluation mode, float32 but for a smaller base, on the CPU, its parameters and buffers aligned.

    Attributes:
        model: The network; what is trained of it is said by ``layers``.
        layers: Its blocks.
        source: The folder, or ``module:function``, that it came from.
        task: What it does.
        labels: Class names by index; of multiple-choice, the positions.
        new_head: Names of the tensors that were freshly initialised rather than read.
        facts: What its configuration says of its inputs (``model_type``, ``image_size``, ...); empty if custom.
        form: How it was divided into layers and is held, with what was put into its layers.
        notes: What loading it had to decide, one sentence each.
        tokenizer: Settings in which the tokenizer that belongs to it differs from the folder's.
    """

    model: nn.Module
    layers: LayerMap
    source: str
    task: Task
    labels: tuple[str, ...]
    new_head: tuple[str, ...] = ()
    facts: Mapping[str, int | str] = field(default_factory=dict)
    form: Form = PLAIN
    notes: tuple[str, ...] = ()
    tokenizer: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Align what was read: a mapped file's tensors begin wherever its header ends."""
        align_module(self.model)

    @property
    def objective(self) -> Objective:
        """What it is trained for."""
        return OBJECTIVES[self.task]


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
