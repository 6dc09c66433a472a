"""Measures a model's local step, block by block, without weights and without computing anything.

The model is made of fake tensors: every operation runs on shapes alone, the same kernels that a real step calls.
One forward pass records what each block is called with and from which layers' weights that comes, so it is known
for every lowest trained layer which inputs of a block need a gradient. Each block is then run alone, forward and
backward, once for every such case; blocks that did the same operations on the same shapes are run once for all.
What lies between blocks is measured with blocks replaced by their shapes. Nothing is estimated from parameter counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ModelError
from fedstrata.models.checkpointing import checkpointed
from fedstrata.models.fake import OnePerRow, as_trained, fake_batch, faked
from fedstrata.models.form import Form
from fedstrata.models.frozen_bf16 import mixed
from fedstrata.models.objective import Classification, Objective
from fedstrata.models.profiling.interblock import Between, measure_between
from fedstrata.models.profiling.recording import Recording, record
from fedstrata.models.profiling.step_profile import BETWEEN as BETWEEN
from fedstrata.models.profiling.step_profile import Meter, profile_of, reach_of


class Network(Protocol):
    """A model with its blocks: ``LoadedModel`` or ``FakeModel``."""

    @property
    def model(self) -> nn.Module:
        """The network."""
        ...

    @property
    def layers(self) -> LayerMap:
        """Its blocks."""
        ...

    @property
    def objective(self) -> Objective:
        """What it is trained for."""
        ...

    @property
    def form(self) -> Form:
        """How it was divided into layers and is held."""
        ...


def measure_model(network: Network, *, rows: int, length: int = 128, size: int | None = None) -> StepProfile:
    """Return what one local step of a ``transformers`` model costs for a batch of some shape.

    Args:
        network: A loaded or fake model.
        rows: Rows of the batch.
        length: Tokens per row, of a text model; no more than it has positions.
        size: Height and width of images; by default the model's own.

    Raises:
        ModelError: The model does not say what it takes, or its code cannot run on shapes alone.

    Example:
        >>> from fedstrata.models.fake import fake_model
        >>> profile = measure_model(fake_model("embedded:vit-digits"), rows=16)
        >>> profile.rows, profile.layers, profile.blocks[0], profile.blocks[-1]
        (16, 6, 'vit.embeddings', '(between blocks)')
    """
    inputs, objective = fake_batch(network.model, rows=rows, length=length, size=size), network.objective
    measure = partial(measure_step, network.model, network.layers, checkpointing=network.form.checkpointing)
    try:
        return measure(inputs=objective.shaped(inputs), objective=objective)
    except ModelError as error:
        if "attention_mask" not in inputs:
            raise
        try:
            return measure(inputs=objective.shaped({"input_ids": inputs["input_ids"]}), objective=objective)
        except ModelError:
            raise error from None


def measure_step(
    model: nn.Module,
    layers: LayerMap,
    inputs: Mapping[str, Tensor],
    objective: Objective = Classification(),  # noqa: B008  a value
    *,
    checkpointing: bool = False,
) -> StepProfile:
    """Return what one forward and backward pass over one batch costs, for every mask.

    Dropout is on and normalisation layers use their stored statistics, as in local training.

    Args:
        model: The network; real, on whatever device, or fake (``fake_model``). It is left as it was.
        layers: Its blocks.
        inputs: One batch; of its tensors, shapes and types count alone.
        objective: What the loss is; by default the cross-entropy of the model's logits.
        checkpointing: Whether layers are computed again in the backward pass.

    Raises:
        ModelError: The model's code cannot run on shapes alone, or does not run all of its layers.

    Example:
        >>> from fedstrata.models.partition import partition
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2))
        >>> profile = measure_step(net, partition(net), {"x": torch.empty(8, 4)})
        >>> profile.blocks[:3], profile.forward.tolist()
        (('0.0', '0.1', '1'), [256, 256, 128, 0])
        >>> [profile.flops(frozenset(mask)) for mask in ([], [1], [0], [0, 1])]
        [768, 1152, 1408, 1664]
    """
    try:
        with (
            torch.enable_grad(),
            faked(model, inputs) as (network, batch),
            as_trained(network),
            mixed(network, cached=False),
            checkpointed(network, layers, measured=True) if checkpointing else nullcontext(),
            OnePerRow(next(iter(batch.values())).shape),
        ):
            run = partial(_loss, network, batch, objective)
            recording = _recorded(network, layers, batch, run)
            meter = Meter(network, layers, recording)
            outside = _outside(network, layers, recording, batch, run)
            return profile_of(meter, outside, batch)
    except ModelError:
        raise
    except Exception as error:  # whatever a model's own code raises where there are shapes and no numbers
        raise ModelError(f"cannot measure {type(model).__name__}: {_sentence(error)}") from error


def _recorded(model: nn.Module, layers: LayerMap, batch: Mapping[str, Tensor], run: Callable[[], Tensor]) -> Recording:
    _train(model, layers, reach_of(layers, 0))
    recording = record(model, layers, batch.values(), run)
    called = {call.block - len(layers.never) for call in recording.calls}
    for index, layer in enumerate(layers):
        if index not in called and not layer.tied_with:
            raise ModelError(
                f"cannot measure {type(model).__name__}: its forward pass does not call layer '{layer.name}'; "
                "leave it out of the candidates"
            )
    return recording


def _outside(
    model: nn.Module, layers: LayerMap, recording: Recording, batch: Mapping[str, Tensor], run: Callable[[], Tensor]
) -> tuple[Between, ...]:
    """Return what happens between blocks for every lowest layer, and last for the empty mask.

    It changes rarely from one lowest layer to the next, and then for good; so where two of them agree, so do all
    that lie between.
    """
    found: dict[int, Between] = {}

    def at(lowest: int) -> Between:
        if lowest not in found:
            trained = reach_of(layers, lowest)
            _train(model, layers, trained)
            found[lowest] = measure_between(model, recording, trained=trained, anyway=batch.values(), run=run)
        return found[lowest]

    def fill(low: int, high: int) -> None:
        if at(low) == at(high):
            found.update(dict.fromkeys(range(low, high), found[low]))
        elif high - low > 1:
            middle = (low + high) // 2
            fill(low, middle)
            fill(middle, high)

    fill(0, len(layers))
    return tuple(found[lowest] for lowest in range(len(layers) + 1))


def _train(model: nn.Module, layers: LayerMap, trained: int) -> None:
    """Let the parameters of these blocks require gradients, and no others."""
    model.requires_grad_(False)
    named = dict(model.named_parameters())
    blocks = [layer for i, layer in enumerate(layers) if trained >> i & 1]
    for block in (*blocks, *layers.always):
        for tensor in block.tensors:
            named[tensor.name].requires_grad_(True)


def _loss(model: nn.Module, batch: Mapping[str, Tensor], objective: Objective) -> Tensor:
    """Return the loss of local training."""
    logits = objective.logits(model, batch)
    labels = torch.zeros(len(next(iter(batch.values()))), dtype=torch.long, device=logits.device)
    return objective.loss(logits, batch, labels, reduction="mean")


def _sentence(error: Exception) -> str:
    words = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {words[:160]}"
