"""Alignment: the tensor itself where it lies well, else a copy of the same bits that does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedstrata.memory_alignment import ALIGNMENT, align_module, aligned
from memory_places import astray, move_module, shifted, turned


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 1, 4, 4)])
def test_torchs_own_tensors_are_aligned(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = torch.ones(shape, dtype=dtype)
    assert aligned(tensor) is tensor


@pytest.mark.parametrize("by", [4, 8, 16, 32, 48])
def test_a_tensor_that_begins_elsewhere_is_copied(by: int) -> None:
    tensor = shifted(torch.randn(3, 4), by)
    assert tensor.data_ptr() % ALIGNMENT == by
    assert torch.equal(aligned(tensor), tensor)
    assert astray([tensor])
    assert not astray([aligned(tensor)])


@pytest.mark.parametrize(
    "tensor",
    [
        turned(torch.randn(3, 4)),
        torch.randn(3, 9)[:, :4],
        torch.randn(4).expand(3, 4),
        torch.randn(2, 1, 4, 4).contiguous(memory_format=torch.channels_last),
        torch.randn(3, 5)[:1, :1],
    ],
    ids=["turned", "cut", "expanded", "channels last, of one channel", "one number with the strides of many"],
)
def test_a_tensor_in_another_order_is_copied_in_row_major_order(tensor: torch.Tensor) -> None:
    assert torch.equal(aligned(tensor), tensor)
    assert aligned(tensor).stride() == torch.empty(tensor.shape).stride()


def test_tensors_without_memory_stay() -> None:
    tensor = torch.empty(3, 4, device="meta")
    assert aligned(tensor) is tensor


def test_parameters_and_buffers_of_a_module_are_aligned_in_place() -> None:
    norm = nn.BatchNorm1d(5)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    objects = [*norm.parameters(), *norm.buffers()]
    move_module(norm, lambda t: shifted(t, 8))
    align_module(norm)
    assert not astray(norm.state_dict().values())
    assert all(a is b for a, b in zip(objects, (*norm.parameters(), *norm.buffers()), strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_parameters_that_share_memory_share_it_afterwards() -> None:
    pair = nn.ModuleList([nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)])
    memory = shifted(torch.randn(3, 3))
    for linear in pair:
        linear.get_parameter("weight").data = memory
    align_module(pair)
    first, second = pair.parameters()
    assert first.data_ptr() == second.data_ptr() != memory.data_ptr()
