"""Bytes of what is sent, by hand."""

from __future__ import annotations

from itertools import product

import pytest

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.wire.sizes import (
    Encoding,
    channels,
    mask_bytes,
    probe_bytes,
    statistics_bytes,
    tensor_bytes,
    update_bytes,
)


def spec(*shape: int) -> TensorSpec:
    return TensorSpec(TensorName("w"), shape)


def layers(count: int) -> LayerMap:
    return LayerMap(tuple(Layer(LayerName(f"h.{i}"), Role.LAYER, (spec(2, 2),)) for i in range(count)))


@pytest.mark.parametrize(
    ("shape", "rows"), [((), 1), ((7,), 1), ((5, 2), 5), ((3, 2, 2, 2), 3), ((0,), 1), ((0, 2), 0), ((2, 0), 2)]
)
def test_rows_are_the_first_dimension_of_what_has_two(shape: tuple[int, ...], rows: int) -> None:
    assert channels(spec(*shape)) == rows


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((10,), [40, 20, 24, 14]), ((), [4, 2, 6, 5]), ((3, 0), [0, 0, 4, 12]), ((8, 4, 1), [128, 64, 68, 64])],
)
def test_bytes_of_a_tensor_in_each_encoding(shape: tuple[int, ...], sizes: list[int]) -> None:
    assert [tensor_bytes(spec(*shape), encoding) for encoding in Encoding] == sizes


def test_an_update_is_the_sum_of_its_tensors() -> None:
    blocks = layers(2).layers
    assert [update_bytes(blocks, encoding) for encoding in Encoding] == [32, 16, 24, 24]
    assert update_bytes((), Encoding.INT8) == 0


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (48, 6)])
def test_a_mask_is_a_bit_per_layer(count: int, size: int) -> None:
    assert mask_bytes(layers(count)) == size


@pytest.mark.parametrize(("halves", "samples"), list(product([False, True], repeat=2)))
def test_what_a_probe_is_priced_at_is_what_its_reply_counts_for(halves: bool, samples: bool) -> None:
    wanted = {Statistic.NORM} | {s for s, on in ((Statistic.HALVES, halves), (Statistic.SAMPLES, samples)) if on}
    tensor = TensorStats(4, 1.0, 1.0, 0.5 if halves else None, *((1.0, 1.0) if samples else (None, None)))
    sketched = (LayerStats((tensor, tensor), 8, sketch=(0.5,) * 16),) * 3
    assert statistics_bytes(sketched) - probe_bytes(layers(3), frozenset(wanted)) == 3 * 4 * 16
    assert statistics_bytes(sketched) == probe_bytes(layers(3), frozenset(wanted), 16)
    stats = (LayerStats((tensor, tensor), 8),) * 3
    assert statistics_bytes(stats) == probe_bytes(layers(3), frozenset(wanted)) == 12 * (1 + halves + 2 * samples)
