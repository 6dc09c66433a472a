"""Encodings: the stated error bounds over all of float32, and examples that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import TensorSpec
from fedstrata.wire.encodings import as_received, decode_tensor, encode_block, encode_tensor, encoded_specs
from fedstrata.wire.sizes import Encoding, tensor_bytes

W = TensorName("w")
EVERY = pytest.mark.parametrize("encoding", Encoding)
SHAPES = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
LARGEST_BF16 = 2.0**128 - 2.0**120
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, 2.0**-149, -(2.0**-149), 190 * 2.0**-149, 2.0**-142, 2.0**-126, 3e38, -3e38, 1.0, 1 / 3]
)
TENSORS = npst.arrays(np.float32, SHAPES, elements=FINITE, fill=st.nothing()).map(torch.from_numpy)


def there_and_back(delta: Tensor, encoding: Encoding) -> Tensor:
    return decode_tensor(W, encode_tensor(W, delta, encoding), encoding)


def row_maxima(x: Tensor) -> Tensor:
    """Return each value's row maximum, in the shape of the tensor; a vector is one row."""
    if x.dim() < 2:
        return x.abs().max().expand(x.shape)
    return x.abs().flatten(1).amax(1).reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape)


def bound(x: Tensor, encoding: Encoding) -> Tensor:
    """Return the largest error that the module's docstring admits, float64, per value."""
    wide = x.double()
    match encoding:
        case Encoding.FLOAT32:
            return torch.zeros_like(wide)
        case Encoding.BF16:
            return 2.0**-8 * wide.abs() + 2.0**-134
        case Encoding.FP16:
            return 2.0**-11 * wide.abs() + 2.0**-39 * wide.abs().max()
        case Encoding.INT8:
            return (1 / 254 + 2.0**-22) * row_maxima(wide) + 2.0**-143


@EVERY
@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=TENSORS)
def test_no_finite_value_is_off_by_more_than_the_bound(encoding: Encoding, x: Tensor) -> None:
    if encoding is not Encoding.FLOAT32:
        x = x.clamp(-LARGEST_BF16, LARGEST_BF16)
    y = there_and_back(x, encoding)
    assert y.dtype == torch.float32
    assert y.shape == x.shape
    if x.numel():
        assert bool(((y.double() - x.double()).abs() <= bound(x, encoding)).all())


@EVERY
@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=TENSORS)
def test_zeros_stay_zeros(encoding: Encoding, x: Tensor) -> None:
    x = x.clamp(-LARGEST_BF16, LARGEST_BF16)
    assert bool((there_and_back(x, encoding)[x == 0] == 0).all())


@EVERY
@settings(max_examples=60, deadline=None, derandomize=True)
@given(shape=SHAPES)
def test_what_travels_has_the_bytes_shapes_and_types_that_were_announced(
    encoding: Encoding, shape: tuple[int, ...]
) -> None:
    spec = TensorSpec(W, shape)
    sent = encode_tensor(W, torch.ones(shape), encoding)
    assert {n: (tuple(t.shape), t.dtype) for n, t in sent.items()} == encoded_specs(spec, encoding)
    assert sum(t.numel() * t.element_size() for t in sent.values()) == tensor_bytes(spec, encoding)
    assert all(t.is_contiguous() for t in sent.values())


@EVERY
@settings(max_examples=50, deadline=None, derandomize=True)
@given(x=npst.arrays(np.float32, (3, 4), elements=st.floats(-8, 8, width=32)).map(torch.from_numpy))
def test_the_order_in_memory_does_not_matter(encoding: Encoding, x: Tensor) -> None:
    turned = x.T.contiguous().T
    assert turned.stride() != x.stride()
    assert torch.equal(there_and_back(turned, encoding), there_and_back(x, encoding))


@EVERY
@settings(max_examples=50, deadline=None, derandomize=True)
@given(x=TENSORS)
def test_input_is_left_as_it_was(encoding: Encoding, x: Tensor) -> None:
    before = x.clone()
    there_and_back(x, encoding)
    assert torch.equal(x.view(torch.int32), before.view(torch.int32))


@EVERY
@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=TENSORS, bad=st.sampled_from([float("nan"), float("inf"), float("-inf")]), at=st.integers(0, 124))
def test_a_value_that_is_not_finite_never_looks_finite(encoding: Encoding, x: Tensor, bad: float, at: int) -> None:
    if x.numel():
        x.view(-1)[at % x.numel()] = bad
        assert not bool(there_and_back(x, encoding).isfinite().all())


def test_float32_is_not_copied() -> None:
    delta = torch.ones(2, 2)
    assert as_received({W: delta}, Encoding.FLOAT32)[W] is delta


def test_float32_keeps_the_sign_of_zero_and_the_bits_of_nan() -> None:
    bits = torch.tensor([-(2**31), 0x7FC00123], dtype=torch.int32)
    assert torch.equal(there_and_back(bits.view(torch.float32), Encoding.FLOAT32).view(torch.int32), bits)


def test_bf16_rounds_to_eight_bits() -> None:
    """Between 1 and 2 a step is 2^-7; 1 + 3/512 lies nearer to 1 + 4/512 than to 1."""
    x = torch.tensor([1.0, 1 + 3 / 512, 1 + 1 / 512])
    assert there_and_back(x, Encoding.BF16).tolist() == [1.0, 1 + 4 / 512, 1.0]


def test_bf16_makes_what_it_cannot_hold_infinite() -> None:
    x = torch.tensor([LARGEST_BF16, 2.0**128 - 2.0**119])
    assert there_and_back(x, Encoding.BF16).tolist() == [LARGEST_BF16, float("inf")]


def test_fp16_scales_the_largest_value_to_the_top_of_its_range() -> None:
    """3 = 0.75 * 2^2, so the scale is 2^(2 - 15) and 24576 = 0.75 * 2^15 travels."""
    sent = encode_tensor(W, torch.tensor([3.0, -1.5, 0.0]), Encoding.FP16)
    assert sent["w#scale"].item() == 2.0**-13
    assert sent["w"].tolist() == [24576.0, -12288.0, 0.0]


def test_fp16_holds_values_that_plain_half_precision_would_lose() -> None:
    x = torch.tensor([1e-9, 3e-9]).to(torch.bfloat16).float()
    assert x.half().tolist() == [0.0, 0.0]
    assert torch.equal(there_and_back(x, Encoding.FP16), x)


def test_int8_has_a_step_per_row() -> None:
    """Rows of [127, 1] and [0.127, 0.001] both travel as [127, 1]."""
    x = torch.tensor([[127.0, 1.0], [0.127, 0.001]])
    sent = encode_tensor(W, x, Encoding.INT8)
    assert sent["w"].tolist() == [[127, 1], [127, 1]]
    assert sent["w#scale"].tolist() == pytest.approx([1.0, 0.001])


def test_int8_gives_a_vector_one_step() -> None:
    sent = encode_tensor(W, torch.tensor([254.0, -2.0, 3.0]), Encoding.INT8)
    assert sent["w#scale"].tolist() == [2.0]
    assert sent["w"].tolist() == [127, -1, 2]


def test_int8_gives_every_slice_of_a_convolution_a_step() -> None:
    sent = encode_tensor(W, torch.tensor([[[1.0], [2.0]], [[10.0], [20.0]]]), Encoding.INT8)
    assert sent["w#scale"].tolist() == pytest.approx([2 / 127, 20 / 127])
    assert sent["w"].tolist() == [[[64], [127]], [[64], [127]]]


def test_int8_rows_of_the_smallest_numbers_are_off_by_less_than_the_constant() -> None:
    """190 / 127 rounds to 1, in units of 2^-149, so that at most 127 of 190 arrive: 63 are missing, less than 2^6."""
    x = torch.tensor([190 * 2.0**-149, -190 * 2.0**-149, 2.0**-149])
    assert (there_and_back(x, Encoding.INT8) / 2.0**-149).tolist() == [127.0, -127.0, 1.0]


def test_blocks_whose_tensors_share_memory_can_be_sent() -> None:
    shared = torch.ones(2, 2)
    specs = (TensorSpec(W, (2, 2)), TensorSpec(TensorName("v"), (2,)))
    sent = encode_block(specs, {W: shared, TensorName("v"): shared[0]}, Encoding.FLOAT32)
    assert len({t.untyped_storage().data_ptr() for t in sent.values()}) == 2
