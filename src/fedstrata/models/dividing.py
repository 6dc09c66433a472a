"""From what is said of a network to its layers: divided, with adapters put in, and with what its owner froze frozen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layer_language import LayerSpec, split_terms
from fedstrata.domain.layers import Layer, LayerMap, Role
from fedstrata.errors import LayerError
from fedstrata.models.causal_head import with_frozen_head
from fedstrata.models.form import Form, Task
from fedstrata.models.frozen_bf16 import set_base
from fedstrata.models.lora import adapt
from fedstrata.models.partition import partition
from fedstrata.models.unused import is_named, without_unused

REST = "frozen"
"""What the block of a layer's frozen tensors is called, after the layer's name."""


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


def keep_frozen(
    model: nn.Module, found: LayerMap, *, candidates: LayerSpec, always: LayerSpec, whole: bool = False
) -> LayerMap:
    """Return the blocks of a network with those that its owner has frozen frozen, or what of them is.

    Args:
        model: The network as its owner made it.
        found: Its blocks, as ``partition`` gives them.
        candidates: The user's terms for what may be selected.
        always: The user's terms for what everyone trains.
        whole: Whether a block that is frozen in part stays as it is, as where adapters take its weights' place.

    Raises:
        LayerError: A term asks for a block that is frozen as a whole, or nothing is left to train.

    Example:
        >>> from fedstrata.models.partition import partition
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2))
        >>> _ = net[0][0].requires_grad_(False)
        >>> found = keep_frozen(net, partition(net), candidates="all", always=())
        >>> found.names, [block.name for block in found.never]
        (('0.1',), ['0.0'])
    """
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    if not still:
        return found
    asked = [block for block in found.layers if list(split_terms(candidates)) != ["all"]]
    asked += [block for block in found.always if is_named(block, found, always)]
    for block in asked:
        if block.tensors and still.issuperset(block.tensor_names):
            raise LayerError(
                f"'{block.name}' is frozen by the model itself (requires_grad is off); leave it out, or let the "
                "model's code leave it trainable"
            )
    frozen = [block for block in found.trainable if block.tensors and still.issuperset(block.tensor_names)]
    layers, rest = _split((b for b in found.layers if b not in frozen), still, whole=whole)
    shared, more = _split((b for b in found.always if b not in frozen), still, whole=whole)
    if not layers and not any(block.tensors for block in shared):
        raise LayerError("the model's own code has frozen all that could be trained (requires_grad is off)")
    return LayerMap(layers, shared, (*found.never, *(replace(b, role=Role.NEVER) for b in frozen), *rest, *more))


def _split(blocks: Iterable[Layer], still: set[str], *, whole: bool) -> tuple[tuple[Layer, ...], list[Layer]]:
    """Return the blocks with what is trainable, and blocks of what is not."""
    kept: list[Layer] = []
    rest: list[Layer] = []
    for block in blocks:
        held = tuple(t for t in block.tensors if t.name in still)
        if whole or not held:
            kept.append(block)
            continue
        kept.append(replace(block, tensors=tuple(t for t in block.tensors if t.name not in still)))
        rest.append(Layer(LayerName(f"{block.name}.{REST}"), Role.NEVER, held))
    return tuple(kept), rest
