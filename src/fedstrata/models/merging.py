"""A trained adapter on disk: merged into the weights that it adapts, and alone as an ordinary PEFT folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedstrata.models.form import Lora
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.lora import ADAPTER, adapted_modules, settings

FOLDER = "adapter"
"""Where the adapter lies inside the model's folder."""

_ROOT = "base_model.model."
"""What PEFT puts before every name."""


def merged(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the model without its adapter, whose products are added to the weights.

    Args:
        model: An adapted network.
        state: Its state dict.

    Example:
        See ``tests/models/test_merging.py``.
    """
    plain = {_without_adapter(name): value for name, value in state.items() if ".lora_" not in name}
    for path, module in adapted_modules(model).items():
        plain[f"{path}.weight"] = plain[f"{path}.weight"] + _product(module, path, state)
    return plain


def _without_adapter(name: str) -> str:
    return name.replace(".base_layer.", ".")


def _product(module: Any, path: str, state: Mapping[str, Tensor]) -> Tensor:  # noqa: ANN401  a LoRA layer of peft
    down, up = (state[f"{path}.{matrix}.{ADAPTER}.weight"] for matrix in ("lora_A", "lora_B"))
    product = (up.double() @ down.double()) * module.scaling[ADAPTER]
    weight = state[f"{path}.base_layer.weight"]
    turned: Tensor = product.T if module.fan_in_fan_out else product  # as Conv1D stores its weight
    return turned.to(weight.dtype)


def save_adapter(loaded: LoadedModel, adapter: Lora, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``, as ``peft`` reads them.

    What everyone trained (the head) is in it too, under ``modules_to_save``.

    Args:
        loaded: The model that was trained.
        adapter: Its adapter.
        state: Its state dict.
        folder: Where to write; it must not exist.

    Example:
        See ``tests/models/test_merging.py``.
    """
    matrices = {name for path in adapted_modules(loaded.model) for name in state if name.startswith(f"{path}.lora_")}
    trained = {t.name for block in loaded.layers.trainable for t in block.tensors}
    whole = [block for block in loaded.layers.always if not matrices.issuperset(block.tensor_names)]
    tensors = {name: state[name] for name in state if name in trained | matrices}
    folder.mkdir()
    saved = {_ROOT + n.replace(f".{ADAPTER}.", "."): t.detach().cpu().contiguous() for n, t in tensors.items()}
    save_file({name: torch.clone(t) for name, t in saved.items()}, folder / "adapter_model.safetensors")
    config = settings(
        adapter,
        adapted_modules(loaded.model),
        modules_to_save=[str(block.name) for block in whole] or None,
        base_model_name_or_path=Path(loaded.source).name,
        inference_mode=True,
    )
    config.save_pretrained(folder)
