"""Builds models and batches of fake tensors, which have shapes and types and run everything, but hold no numbers."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.initialization import no_init_weights

from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ModelError
from fedstrata.models.causal_head import check_causal
from fedstrata.models.custom import call_model_function, is_custom
from fedstrata.models.dividing import divided, fitted
from fedstrata.models.folder_config import first_line, load_config, model_folder, quiet, set_dropout, set_outputs
from fedstrata.models.form import PLAIN, Form, Task
from fedstrata.models.hub import AUTO_CLASSES, task_for
from fedstrata.models.leftovers import nothing_left
from fedstrata.models.loaded import seeded
from fedstrata.models.objective import OBJECTIVES, Classification, Objective
from fedstrata.models.padding import model_pad, set_padding
from fedstrata.pretrained import built


@dataclass(frozen=True, slots=True)
class FakeModel:
    """A model without weights.

    Attributes:
        model: The network, of fake float32 tensors on the CPU.
        layers: Its blocks.
        source: The folder, or ``module:function``, that it came from.
        objective: What it is trained for.
        form: How it was divided into layers and is held.
    """

    model: nn.Module
    layers: LayerMap
    source: str
    objective: Objective = field(default_factory=Classification)
    form: Form = PLAIN


def fake_model(
    path: str,
    *,
    num_labels: int | None = None,
    task: Task | None = None,
    dropout: float | None = None,
    form: Form = PLAIN,
) -> FakeModel:
    """Return a model without weights, from a folder's ``config.json`` alone or from ``module:function``.

    Args:
        path: Folder, or ``module:function``.
        num_labels: Size of the head; by default the folder's own, and 2 for a function. A language-model head stays.
        task: What to do; by default what the folder's architecture can.
        dropout: Replaces every dropout probability of the configuration.
        form: How it is divided into layers and held.

    Raises:
        ModelError: The folder or function is missing, cannot be built without weights, or does not do the task.
        LayerError: A layer term matches nothing.

    Example:
        >>> made = fake_model("embedded:vit-digits", num_labels=10)
        >>> len(made.layers), type(next(made.model.parameters())).__name__
        (6, 'FakeTensor')
    """
    if num_labels is not None and num_labels < 1:
        raise ModelError(f"a head needs at least one label, got {num_labels}")
    if is_custom(path):
        with seeded(0), no_init_weights(), torch.device("meta"):
            model = call_model_function(path, num_labels or 2)
        task = task or "image-classification"
    else:
        model, task = _from_folder(path, num_labels, task, dropout)
    found = fitted(model, divided(model, form, None if is_custom(path) else task), form)
    return FakeModel(fake_copy(model), found, path, OBJECTIVES[task], form)


def _from_folder(path: str, num_labels: int | None, task: Task | None, dropout: float | None) -> tuple[nn.Module, Task]:
    folder = model_folder(path, weights=False)
    config = load_config(folder)
    set_outputs(config)
    task = task_for(config, task, folder)
    if task == "multiple-choice":
        check_causal(config, folder, "keep")
    elif num_labels is not None:
        config.num_labels = num_labels
    if dropout is not None:
        set_dropout(config, dropout)
    if model_pad(config) is None:
        set_padding(config, 0)  # which token pads does not change a shape
    try:
        with quiet(), seeded(0), no_init_weights(), torch.device("meta"):
            model: nn.Module = built(AUTO_CLASSES[task], config, dtype=torch.float32)
    except Exception as error:  # whatever the model's own code raises
        raise ModelError(f"'{folder}' cannot be built without weights: {first_line(error)}") from error
    return model, task


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep torch from logging the traceback of an error that it raises anyway."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def fake_copy(model: nn.Module, mode: FakeTensorMode | None = None) -> nn.Module:
    """Return a copy of a model whose tensors are fake, on the CPU if they are ``meta``; no weights are copied.

    Example:
        >>> fake_copy(nn.Linear(2, 3, device="meta")).weight.device
        device(type='cpu')
    """
    mode = mode or _mode()
    plain = (t for module in model.modules() for t in tree_leaves(dict(vars(module))) if isinstance(t, Tensor))
    tensors = {id(t): t for t in chain(model.parameters(), model.buffers(), plain)}
    with mode:
        return copy.deepcopy(model, {key: _hollow(tensor) for key, tensor in tensors.items()})


def _hollow(tensor: Tensor) -> Tensor:
    """Return a tensor like this one, made in the fake mode that is on."""
    device = torch.device("cpu") if tensor.is_meta else tensor.device
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _mode() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def faked(model: nn.Module, inputs: Mapping[str, Tensor]) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
    """Give a fake copy of a model and of a batch; a model that is fake already is given as it is.

    Example:
        >>> with faked(nn.Linear(2, 3), {"input": torch.ones(4, 2)}) as (model, inputs):
        ...     out = model(**inputs)
        >>> type(out).__name__, out.shape
        ('FakeTensor', torch.Size([4, 3]))
    """
    own = next((p.fake_mode for p in model.parameters() if isinstance(p, FakeTensor)), None)
    mode = own or _mode()
    with nothing_left(model), seeded(0), _unlogged(), mode:
        network = model if own else fake_copy(model, mode)
        batch: dict[str, Tensor] = {
            name: t if isinstance(t, FakeTensor) else mode.from_tensor(t) for name, t in inputs.items()
        }
        yield network, batch


@contextmanager
def as_trained(model: nn.Module) -> Iterator[None]:
    """Put a model into the mode of local training while the body runs, then restore modes and gradient flags.

    Dropout is on; normalisation layers use their stored statistics.
    """
    modes = {module: module.training for module in model.modules()}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    for module in model.modules():
        module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
            parameter.grad = None


class OnePerRow(TorchDispatchMode):
    """Lets a mask over all tokens pick one token per row while it is entered, as end tokens do.

    How many tokens such a mask picks depends on the values of the batch, which a fake one has not; encoder-decoders
    classify by the end token of each row, and refuse rows with different numbers of them.

    Args:
        tokens: Shape of the batch: ``(rows, length)``.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tokens = tuple(tokens)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func._overloadpacket in _PICKING and self._is_mask(args[1][0]):
            first = torch.zeros(self._tokens[0], dtype=torch.long, device=args[1][0].device)
            args = (args[0], [first, first, *args[1][1:]], *args[2:])
        if func._overloadpacket is torch.ops.aten.unique_consecutive and args[0].shape == self._tokens[:1]:
            return args[0][:1].clone(), args[0], args[0]
        return func(*args, **(kwargs or {}))

    def _is_mask(self, index: Tensor | None) -> bool:
        return index is not None and index.dtype == torch.bool and index.shape == self._tokens


_PICKING = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_)
"""Operations that take a list of indices second."""


def fake_batch(
    model: nn.Module, *, rows: int = 1, length: int = 128, size: int | None = None, mask: bool = True
) -> dict[str, Tensor]:
    """Return one batch of fake tensors for a ``transformers`` model.

    Args:
        model: A model with a ``config``.
        rows: Rows.
        length: Tokens per row; no more than the model's positions.
        size: Height and width of an image; by default the model's own.
        mask: Whether texts come with an ``attention_mask``, as padded ones do.

    Raises:
        ModelError: The model does not say what it takes.

    Example:
        >>> batch = fake_batch(fake_model("embedded:vit-digits").model, rows=2)
        >>> {name: tuple(tensor.shape) for name, tensor in batch.items()}
        {'pixel_values': (2, 1, 8, 8)}
    """
    config = getattr(model, "config", None)
    kind = getattr(model, "main_input_name", None)
    if config is None or kind not in ("input_ids", "pixel_values"):
        raise ModelError(
            f"{type(model).__name__} does not say what input it takes; give it a main_input_name of 'input_ids' or "
            "'pixel_values' and a config, or measure it with fedstrata.models.profiling.step.measure_step and a batch"
        )
    own = next((t.fake_mode for t in chain(model.parameters(), model.buffers()) if isinstance(t, FakeTensor)), None)
    with own or _mode():
        if kind == "pixel_values":
            return {"pixel_values": torch.empty((rows, *_image_shape(config, size)))}
        limit = getattr(config, "max_position_embeddings", None) or length
        ids = torch.ones((rows, min(length, limit)), dtype=torch.long)
        takes_mask = mask and "attention_mask" in inspect.signature(model.forward).parameters
        return {"input_ids": ids} | ({"attention_mask": torch.ones_like(ids)} if takes_mask else {})


def _image_shape(config: Any, size: int | None) -> tuple[int, int, int]:  # noqa: ANN401
    part = config if hasattr(config, "num_channels") else config.vision_config
    own: Any = size or getattr(part, "image_size", 224)
    height, width = (own, own) if isinstance(own, int) else (own[0], own[1])
    return (part.num_channels, height, width)
