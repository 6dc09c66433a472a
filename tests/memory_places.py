"""Tensors that begin where torch would not put them, readers that give such tensors, and models that notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import TensorRows
from fedstrata.memory_alignment import ALIGNMENT

READERS = (
    "fedstrata.wire.reply_frames.load_blob",
    "fedstrata.runs.checkpoint.load_tensors",
    "fedstrata.deploy.site.layer_store.load_blob",
    "fedstrata.data.cache.load_file",
)
"""What gives tensors in memory that torch did not ask for."""


def shifted(tensor: Tensor, by: int = 8) -> Tensor:
    """Return an equal tensor that begins so many bytes after a multiple of ``ALIGNMENT``."""
    size = tensor.element_size()
    memory = torch.empty(tensor.numel() + (ALIGNMENT + by) // size, dtype=tensor.dtype)
    first = (-memory.data_ptr() % ALIGNMENT + by) // size
    moved = memory[first : first + tensor.numel()].view(tensor.shape).copy_(tensor)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def turned(tensor: Tensor) -> Tensor:
    """Return an equal tensor whose last dimension changes slowest in memory."""
    if tensor.dim() < 2:
        return tensor.clone()
    order = [tensor.dim() - 1, *range(tensor.dim() - 1)]
    back = [*range(1, tensor.dim()), 0]
    return tensor.detach().permute(order).contiguous().permute(back)


def moved_rows(rows: TensorRows, move: Callable[[Tensor], Tensor]) -> TensorRows:
    """Return equal rows in other memory."""
    return TensorRows({name: move(tensor) for name, tensor in rows.inputs.items()}, move(rows.labels))


def move_module(module: nn.Module, move: Callable[[Tensor], Tensor]) -> None:
    """Put a module's parameters and buffers elsewhere."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = move(tensor.data)


def astray(tensors: Iterable[Tensor]) -> list[tuple[int, tuple[int, ...]]]:
    """Return where each tensor begins and its strides, if a kernel could give other bits there."""
    usual = ((t, torch.empty(t.shape, device="meta").stride()) for t in tensors)
    return [(t.data_ptr() % ALIGNMENT, t.stride()) for t, s in usual if t.data_ptr() % ALIGNMENT or t.stride() != s]


@dataclass(slots=True)
class Watched:
    """Counts the forward passes of every model in this process, and looks at what each computes with."""

    passes: int = 0

    def look(self, model: ResidentModel, inputs: Mapping[str, Tensor]) -> None:
        """Fail if a parameter, a buffer or an input is astray."""
        self.passes += 1
        assert not astray([*model.module.parameters(), *model.module.buffers(), *inputs.values()])


def watch(patch: pytest.MonkeyPatch) -> Watched:
    """Watch every forward pass, while every reader gives tensors that begin elsewhere."""
    watched, logits = Watched(), ResidentModel.logits

    def looked(model: ResidentModel, inputs: Mapping[str, Tensor], within: Any = None) -> Tensor:  # noqa: ANN401
        watched.look(model, inputs)
        return logits(model, inputs, within)

    patch.setattr(ResidentModel, "logits", looked)
    for reader in READERS:
        patch.setattr(reader, _shifting(_named(reader)))
    return watched


def _named(path: str) -> Callable[..., dict[str, Tensor]]:
    module, _, name = path.rpartition(".")
    found: Callable[..., dict[str, Tensor]] = getattr(__import__(module, fromlist=[name]), name)
    return found


def _shifting(read: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    def shifting(*arguments: Any) -> dict[str, Tensor]:  # noqa: ANN401  whatever the reader takes
        return {name: shifted(tensor) for name, tensor in read(*arguments).items()}

    return shifting


def misplace(file: Path) -> None:
    """Write a safetensors file anew, so that its tensors begin 8 bytes after a multiple of ``ALIGNMENT``."""
    tensors = load_file(file)
    for filler in range(ALIGNMENT):
        save_file(tensors, file, metadata={"format": "pt", "filler": "." * filler})
        with file.open("rb") as opened:
            if (8 + int.from_bytes(opened.read(8), "little")) % ALIGNMENT == 8:
                return
    raise AssertionError
