"""Builds a model without weights, and a batch for it, on the meta device: shapes and costs of a 7B on a laptop."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ModelError
from fedstrata.models.custom import call_model_function, is_custom
from fedstrata.models.flops import FlopReport, layer_flops
from fedstrata.models.folder import load_config, model_folder, quiet
from fedstrata.models.hub import auto_class
from fedstrata.models.loaded import Task


def build_meta(model: str, *, num_labels: int | None = None, task: Task | None = None) -> nn.Module:
    """Return a classifier without weights, from a folder's ``config.json`` alone or from ``module:function``.

    Args:
        model: Folder, or ``module:function``.
        num_labels: Size of the head; by default the folder's own, and 2 for a function.
        task: What to classify; by default what the folder's architecture can.

    Raises:
        ModelError: The folder or function is missing, or the architecture does not do the task.
    """
    if num_labels is not None and num_labels < 1:
        raise ModelError(f"a head needs at least one label, got {num_labels}")
    if is_custom(model):
        with torch.device("meta"):
            return call_model_function(model, num_labels or 2)
    folder = model_folder(model, weights=False)
    config = load_config(folder)
    if num_labels is not None:
        config.num_labels = num_labels
    if getattr(config.get_text_config(), "pad_token_id", None) is None:
        config.get_text_config().pad_token_id = 0  # which token pads does not change a shape
    auto = auto_class(config, task, folder)
    with quiet(), torch.device("meta"):
        built: nn.Module = auto.from_config(config, attn_implementation="eager")
    return built


def meta_flops(
    model: nn.Module, layers: LayerMap, *, batch: int = 1, length: int = 128, size: int | None = None
) -> tuple[FlopReport, Mapping[str, tuple[int, ...]]]:
    """Return what every block of a model on the meta device costs, and the shapes of the batch it was for.

    Some architectures look at the values of an attention mask, others at positions if there is none; meta tensors
    have no values, so both ways are tried, and the one that gets further is returned.

    Raises:
        ModelError: Neither way reaches a selectable layer, or the model does not say what it takes.

    Example:
        >>> from fedstrata.models.partition import partition
        >>> from transformers import LlamaConfig, LlamaForSequenceClassification
        >>> with torch.device("meta"):
        ...     model = LlamaForSequenceClassification(LlamaConfig(num_hidden_layers=2))
        >>> report, shapes = meta_flops(model, partition(model), length=16)
        >>> shapes, report.blocks["model.layers.0"].forward == report.blocks["model.layers.1"].forward
        ({'input_ids': (1, 16)}, True)
    """
    best: FlopReport | None = None
    refusal: ModelError | None = None
    inputs: Mapping[str, Tensor | bool] = {}
    for mask in (False, True):
        inputs = meta_inputs(model, batch=batch, length=length, size=size, mask=mask)
        try:
            with _explicit_attention(model):
                report = layer_flops(model, layers, inputs)
        except ModelError as error:
            refusal = refusal or error
            continue
        if best is None or len(report.blocks) > len(best.blocks):
            best = report
        if report.problem is None:
            break
    if best is None:
        raise refusal or ModelError(f"cannot measure {type(model).__name__}")
    shapes = {name: tuple(t.shape) for name, t in inputs.items() if isinstance(t, Tensor) and name != "attention_mask"}
    return best, shapes


@contextmanager
def _explicit_attention(model: Any) -> Iterator[None]:  # noqa: ANN401
    """Write attention out as products while the body runs: fused kernels look at the values of masks."""
    own = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if own in (None, "eager"):
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def meta_inputs(
    model: nn.Module, *, batch: int = 1, length: int = 128, size: int | None = None, mask: bool = False
) -> Mapping[str, Tensor | bool]:
    """Return one batch of shapes for a ``transformers`` model: ``pixel_values`` or ``input_ids``.

    Args:
        model: A model with a ``config``.
        batch: Rows.
        length: Tokens per row; no more than the model's positions.
        size: Height and width of an image; by default the model's own.
        mask: Whether to add an ``attention_mask`` to ``input_ids``.

    Raises:
        ModelError: The model does not say what it takes.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> with torch.device("meta"):
        ...     model = BertForSequenceClassification(BertConfig(num_hidden_layers=1))
        >>> meta_inputs(model, batch=2, length=16)["input_ids"].shape
        torch.Size([2, 16])
    """
    config = getattr(model, "config", None)
    kind = getattr(model, "main_input_name", None)
    if config is None or kind not in ("input_ids", "pixel_values"):
        raise ModelError(
            f"{type(model).__name__} does not say what input it takes; give it a main_input_name of 'input_ids' or "
            "'pixel_values' and a config, or measure it with fedstrata.models.flops.layer_flops and your own batch"
        )
    if kind == "pixel_values":
        height, width = _image_size(config, size)
        shape = (batch, _vision(config).num_channels, height, width)
        return {"pixel_values": torch.empty(shape, device="meta")}
    limit = getattr(config, "max_position_embeddings", None) or length
    ids = torch.ones((batch, min(length, limit)), dtype=torch.long, device="meta")
    inputs: dict[str, Tensor | bool] = {"input_ids": ids}
    if mask:
        inputs["attention_mask"] = torch.ones_like(ids)
    if "use_cache" in inspect.signature(model.forward).parameters:
        inputs["use_cache"] = False
    return inputs


def _vision(config: Any) -> Any:  # noqa: ANN401
    return config if hasattr(config, "num_channels") else config.vision_config


def _image_size(config: Any, size: int | None) -> tuple[int, int]:  # noqa: ANN401
    own: Any = size or getattr(_vision(config), "image_size", 224)
    return (own, own) if isinstance(own, int) else (own[0], own[1])
