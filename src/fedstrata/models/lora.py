"""LoRA: low-rank matrices beside the linear modules of each block, in the place of its weights.

``y = W x + (alpha / rank) B A x`` with ``W`` frozen, ``A`` random and ``B`` zero at the start, so that an adapted model
begins as the model that it adapts. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
https://arxiv.org/abs/2106.09685. The matrices are those of the ``peft`` library (extra ``lora``), injected in place.

Layers keep their names and are made of the matrices alone; the weights of layer ``x`` become the frozen block
``x.base``. Whatever would be adapted in part or not at all is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn
from transformers.pytorch_utils import Conv1D

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.errors import ModelError, nearest
from fedstrata.models.form import Lora, Units
from fedstrata.models.loaded import seeded
from fedstrata.models.partition import partition

ADAPTER = "default"
"""What ``peft`` calls the one adapter, inside tensor names."""
BASE = "base"
"""What the frozen block of a layer's own weights is called, after the layer's name."""

_MATRICES = (f"lora_A.{ADAPTER}.weight", f"lora_B.{ADAPTER}.weight")
_KEY = "model.adapter: "
"""What messages start with, for whoever knows the configuration's file and line."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A module that LoRA can adapt."""

    path: str
    module: nn.Linear | Conv1D
    layer: LayerName


def peft() -> Any:  # noqa: ANN401  an optional library
    """Return the ``peft`` library.

    Raises:
        ModelError: It is not installed, with how to install it.

    Example:
        See ``tests/models/test_lora.py``.
    """
    try:
        import peft as library
    except ModuleNotFoundError as error:
        raise ModelError(f"{_KEY}LoRA needs peft; install it with: pip install 'fedstrata[lora]'") from error
    return library


def adapt(
    model: nn.Module,
    layers: LayerMap,
    adapter: Lora | None,
    *,
    seed: int = 0,
    blocks: str | Sequence[str] | None = None,
    units: Units = "blocks",
) -> LayerMap:
    """Put LoRA matrices into every layer of a model, in place, and return the layers that they make.

    Blocks that nobody trains are left as they are; so are blocks that everyone trains, unless they are layers by
    default.

    Args:
        model: The network, on any device (``meta`` included).
        layers: Its partition.
        adapter: What to add; ``None`` changes nothing.
        seed: Seed of every ``A``; the global random stream is left alone.
        blocks: As for ``partition``.
        units: As for ``partition``.

    Raises:
        ModelError: ``peft`` is missing, a target is no linear module of a layer, a layer has no target, a layer shares
            weights with another, its attention cannot be adapted, or the rank is larger than any of the weights'.

    Example:
        See ``tests/models/test_lora.py``.
    """
    if adapter is None:
        return layers
    inside = set(partition(model, blocks=blocks, units=units).names)
    adapted = [block for block in layers.trainable if block.name in inside]
    _check_blocks(model, adapted, layers.always, inside)
    places = list(_targets(model, adapted, adapter))
    _check_rank(places, adapter)
    _inject(model, places, adapter, seed)
    specs = {str(name): p for name, p in model.named_parameters()}

    def changed(block: Layer) -> Layer:
        if block.name not in inside:
            return block
        names = [f"{place.path}.{matrix}" for place in places if place.layer == block.name for matrix in _MATRICES]
        made = (TensorSpec(TensorName(n), tuple(specs[n].shape), specs[n].element_size()) for n in names)
        return replace(block, tensors=tuple(made))

    frozen = tuple(_frozen(block, {place.path for place in places}) for block in adapted)
    return LayerMap(
        tuple(changed(block) for block in layers.layers),
        tuple(changed(block) for block in layers.always),
        (*layers.never, *frozen),
    )


def _frozen(block: Layer, adapted: set[str]) -> Layer:
    """Return the block of a layer's own weights, under the names that they have beside the matrices."""

    def renamed(spec: TensorSpec) -> TensorSpec:
        path, _, leaf = spec.name.rpartition(".")
        return replace(spec, name=TensorName(f"{path}.base_layer.{leaf}")) if path in adapted else spec

    return Layer(LayerName(f"{block.name}.{BASE}"), Role.NEVER, tuple(map(renamed, block.tensors)))


def _check_blocks(model: nn.Module, adapted: Sequence[Layer], always: Sequence[Layer], inside: set[LayerName]) -> None:
    modules = dict(model.named_modules())
    for block in adapted:
        if block.tied_with:
            raise ModelError(
                f"{_KEY}layer '{block.name}' shares weights with '{block.tied_with[0]}', and LoRA would change one of "
                "the two; leave both out of model.candidates"
            )
        for path in _modules(model, block):
            if isinstance(modules[path], (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
                raise ModelError(
                    f"{_KEY}'{path}' is torch's {type(modules[path]).__name__}, which reads weights past their modules,"
                    " so that LoRA would do nothing; use attention that is made of Linear modules"
                )
    for block in always:
        if block.name not in inside and block.tensors and block.name not in modules:
            raise ModelError(
                f"{_KEY}'{block.name}' is trained by everyone and is a parameter of no module of its own, which an "
                "adapter cannot hold; add it to model.never"
            )


def _modules(model: nn.Module, block: Layer) -> Iterator[str]:
    """Yield the paths of the modules at and below a block."""
    for part in block.parts or (str(block.name),):
        yield from (path for path, _ in model.named_modules() if path == part or path.startswith(f"{part}."))


def _targets(model: nn.Module, adapted: Sequence[Layer], adapter: Lora) -> Iterator[_Place]:
    """Yield the modules to adapt, in the order of the layers."""
    modules = dict(model.named_modules())
    within = {path: block.name for block in adapted for path in _modules(model, block)}
    linear = [path for path in within if isinstance(modules[path], (nn.Linear, Conv1D))]
    targets = () if adapter.targets == "auto" else adapter.targets
    for target in targets:
        if not any(_ends(path, target) for path in linear):
            raise _no_target(target, linear, [p for p in within if _ends(p, target)], modules)
    chosen = [p for p in linear if not targets or any(_ends(p, target) for target in targets)]
    for block in adapted:
        if not any(within[path] == block.name for path in chosen):
            wanted = f"module named {_listed(targets)}" if targets else "linear module"
            raise ModelError(
                f"{_KEY}layer '{block.name}' has no {wanted}, so nothing of it could be trained; leave it out of "
                "model.candidates, or name other targets"
            )
    for path in chosen:
        module = modules[path]
        if isinstance(module, (nn.Linear, Conv1D)):
            yield _Place(path, module, within[path])


def _check_rank(places: Sequence[_Place], adapter: Lora) -> None:
    """Refuse a rank that no weight has: the matrices would be larger than what they stand for, without bound."""
    most = max((min(place.module.weight.shape) for place in places), default=0)
    if places and adapter.rank > most:
        raise ModelError(
            f"model.adapter.rank: {adapter.rank:,} is larger than the rank of any weight that it adapts"
            f" ({most:,} at most); lower it"
        )


def _ends(path: str, target: str) -> bool:
    return path == target or path.endswith(f".{target}")


def _no_target(target: str, linear: Sequence[str], others: Sequence[str], modules: dict[str, nn.Module]) -> ModelError:
    if others:
        what = type(modules[others[0]]).__name__
        return ModelError(f"{_KEY}target '{target}' is a {what}; LoRA adapts linear modules (nn.Linear, Conv1D)")
    names = dict.fromkeys(path.rpartition(".")[2] for path in linear)
    return ModelError(f"{_KEY}no linear module of a layer is named '{target}'; {nearest(target, names)}")


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _inject(model: nn.Module, places: Sequence[_Place], adapter: Lora, seed: int) -> None:
    wanted = {place.path: place.module for place in places}
    own = int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])  # not the head's stream
    meta = any(p.is_meta for p in model.parameters())
    library = peft()
    with seeded(own), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to those who call it by hand
        library.inject_adapter_in_model(settings(adapter, wanted), model, ADAPTER, low_cpu_mem_usage=meta)
    if odd := sorted(wanted.keys() ^ adapted_modules(model).keys()):
        did = "left out" if odd[0] in wanted else "adapted too"
        raise ModelError(f"{_KEY}peft has {did} '{odd[0]}', which was not asked for; name other targets")
    for place in places:
        model.get_submodule(place.path).train(place.module.training)  # new dropout would be on
    model.requires_grad_(requires_grad=True)


def adapted_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of an adapted model that hold matrices, by path.

    Example:
        >>> adapted_modules(nn.Linear(2, 2))
        {}
    """
    return {path: module for path, module in model.named_modules() if hasattr(module, "lora_A")}


def settings(adapter: Lora, modules: Mapping[str, nn.Module], **more: Any) -> Any:  # noqa: ANN401  an optional library's
    """Return the ``peft`` configuration of an adapter.

    Args:
        adapter: Rank, alpha, dropout.
        modules: The adapted modules, by path.
        more: Other settings of ``LoraConfig``.

    Raises:
        ModelError: ``peft`` is not installed.
    """
    return peft().LoraConfig(
        r=adapter.rank,
        lora_alpha=int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha,  # what others read
        lora_dropout=adapter.dropout,
        target_modules=sorted(modules),
        bias="none",
        fan_in_fan_out=all(isinstance(getattr(m, "base_layer", m), Conv1D) for m in modules.values()),
        **more,
    )
