"""One pass over a delta: its norm, its hash, and the difference that it is of."""

from __future__ import annotations

import gc
from math import inf, isfinite, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor
from xxhash import xxh3_128

from fedstrata.wire import measures
from fedstrata.wire.measures import BLOCK, SMALL, difference, distance, measure

SIZES = (0, 1, 5, SMALL - 1, SMALL, BLOCK, BLOCK + 1, 3 * BLOCK + 12345)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_a_norm_is_that_of_exact_sums_and_a_hash_that_of_all_bytes(size: int) -> None:
    tensor = random(size)
    exact = sqrt(float(np.square(tensor.numpy(), dtype=np.float64).sum()))
    found = measure(tensor)
    assert found.norm == pytest.approx(exact, rel=2**-14)
    assert found.xxh3 == xxh3_128(tensor.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_a_difference_has_the_bits_of_a_subtraction_and_is_measured_as_it_is(size: int) -> None:
    local, start = random(size, seed=1), random(size, seed=2)
    wanted, held = local - start, start.clone()
    found = difference(local, start)
    assert found is local
    assert torch.equal(found, wanted)
    assert torch.equal(start, held)
    assert measure(found) == measure(wanted)


@pytest.mark.parametrize("value", [inf, -inf, float("nan")])
@pytest.mark.parametrize("place", [0, BLOCK, 2 * BLOCK + 76])
def test_one_value_that_is_not_finite_is_seen_wherever_it_is(value: float, place: int) -> None:
    tensor = torch.zeros(2 * BLOCK + 77)
    tensor[place] = value
    assert not isfinite(measure(tensor).norm)
    assert not isfinite(measure(difference(tensor, torch.zeros(2 * BLOCK + 77))).norm)


@pytest.mark.parametrize("value", [3e38, 1e-30, 2.0**-149])
def test_the_range_of_squares_is_not_the_range_of_norms(value: float) -> None:
    """Squares of these are infinite or zero in float32."""
    tensor = torch.full((2 * BLOCK,), value)
    assert measure(tensor).norm == pytest.approx(float(tensor[0]) * sqrt(2 * BLOCK), rel=1e-6)


def test_a_matrix_is_measured_in_row_major_order_whatever_its_strides() -> None:
    matrix = random(300, 400)
    assert measure(matrix.T) == measure(matrix.T.contiguous())
    assert measure(matrix.T).xxh3 != measure(matrix).xxh3
    start = random(300, 400, seed=3)
    assert torch.equal(difference(matrix.T.clone().T, start), matrix - start)


def test_other_types_than_float32_become_float32() -> None:
    found = difference(torch.tensor([1.5, 2.0], dtype=torch.bfloat16), torch.tensor([1.0, 1.0], dtype=torch.bfloat16))
    assert found.dtype is torch.float32
    assert found.tolist() == [0.5, 1.0]


def test_a_tensor_is_measured_once_until_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = random(SMALL)
    first = measure(tensor)
    with monkeypatch.context() as patch:
        patch.setattr(measures, "_measured", None)
        assert measure(tensor) is first
    tensor[3] += 1.0
    assert measure(tensor).xxh3 == xxh3_128(tensor.numpy().tobytes()).hexdigest() != first.xxh3


def test_nothing_is_remembered_of_tensors_that_are_gone() -> None:
    gc.collect()
    before = len(measures._known)
    tensors = [random(4, seed=i) for i in range(3)]
    assert len({measure(tensor).xxh3 for tensor in tensors}) == 3
    assert len(measures._known) == before + 3
    del tensors
    gc.collect()
    assert len(measures._known) == before


def test_a_distance_changes_neither_tensor() -> None:
    one, other = random(SMALL, seed=1), random(SMALL, seed=2)
    held = one.clone(), other.clone()
    assert distance(one, other) == pytest.approx(float((one - other).double().norm()), rel=1e-6)
    assert torch.equal(one, held[0])
    assert torch.equal(other, held[1])
