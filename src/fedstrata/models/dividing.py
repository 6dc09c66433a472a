"""From what is said of a network to its layers: divided, with what is frozen, and with adapters put in."""

from __future__ import annotations

from torch import nn

from fedstrata.domain.layers import LayerMap
from fedstrata.models.base import set_base
from fedstrata.models.causal import with_frozen_head
from fedstrata.models.form import Form, Task
from fedstrata.models.frozen import keep_frozen
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.models.unused import without_unused


def divided(model: nn.Module, form: Form, task: Task | None = None) -> LayerMap:
    """Return the layers of a network, and what is trained by everyone or by nobody.

    Args:
        model: The network, on any device (``meta`` included).
        form: What is said of it.
        task: What a class of ``transformers`` does, where it is one: some have blocks that are better frozen.

    Raises:
        LayerError: A term matches nothing, or asks for what is frozen.
        ModelError: It has no blocks.
    """
    layers = partition(
        model,
        candidates=form.candidates,
        always=form.always,
        never=form.never,
        blocks=form.blocks,
        units=form.units,
    )
    if task is not None:
        layers = (with_frozen_head if task == "multiple-choice" else without_unused)(model, layers, form.always)
    whole = form.adapter is not None
    return keep_frozen(model, layers, candidates=form.candidates, always=form.always, whole=whole)


def fitted(model: nn.Module, layers: LayerMap, form: Form, *, seed: int = 0) -> LayerMap:
    """Put adapters into a network and hold its frozen blocks as asked, in place, and return the layers that result.

    Args:
        model: The network.
        layers: As ``divided`` returned them.
        form: What is said of it.
        seed: Seed of an adapter's matrices.

    Raises:
        ModelError: The adapter does not fit.
    """
    layers = adapt(model, layers, form.adapter, seed=seed, blocks=form.blocks, units=form.units)
    return set_base(model, layers, form.base_dtype)
