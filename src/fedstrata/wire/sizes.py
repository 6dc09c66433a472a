"""What clients and server send each other, in bytes: framing aside, which is under one percent and 64 KiB."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from fedstrata.domain.layers import Layer, LayerMap, TensorSpec
from fedstrata.domain.stats import LayerStats, Statistic

STATISTIC_BYTES = 4
"""A statistic counts as one float32 per layer; tensors of a layer add up before they are sent."""


class Encoding(StrEnum):
    """How deltas are sent; the error bounds, for finite values, are proven in ``tests/wire/test_encodings.py``."""

    FLOAT32 = "float32"
    """As they are."""
    BF16 = "bf16"
    """Half the bytes; each value is off by at most 2^-8 of itself."""
    FP16 = "fp16"
    """Half the bytes, a power of two per tensor; off by at most 2^-11 of itself plus 2^-39 of the tensor's largest."""
    INT8 = "int8"
    """A quarter of the bytes and a step per row; off by at most 1/254 of the row's largest value (and rounding)."""


def channels(spec: TensorSpec) -> int:
    """Return how many rows of a tensor get a step of their own in ``int8``: its first dimension, or 1 for vectors.

    Example:
        >>> from fedstrata.domain.ids import TensorName
        >>> [channels(TensorSpec(TensorName("w"), shape)) for shape in ((4, 3), (4,), (), (0, 3))]
        [4, 1, 1, 0]
    """
    return spec.shape[0] if len(spec.shape) > 1 else 1


def tensor_bytes(spec: TensorSpec, encoding: Encoding) -> int:
    """Return the bytes of one tensor's delta.

    Example:
        >>> from fedstrata.domain.ids import TensorName
        >>> [tensor_bytes(TensorSpec(TensorName("w"), (4, 3)), e) for e in Encoding]
        [48, 24, 28, 28]
    """
    if encoding is Encoding.INT8:
        return spec.elements + 4 * channels(spec)
    if encoding is Encoding.FP16:
        return 2 * spec.elements + 4
    return (2 if encoding is Encoding.BF16 else 4) * spec.elements


def update_bytes(blocks: Iterable[Layer], encoding: Encoding) -> int:
    """Return the bytes of the deltas of some blocks."""
    return sum(tensor_bytes(spec, encoding) for block in blocks for spec in block.tensors)


def mask_bytes(layers: LayerMap) -> int:
    """Return the bytes of a mask: one bit per layer."""
    return (len(layers) + 7) // 8


def probe_bytes(layers: LayerMap, statistics: frozenset[Statistic], sketch: int = 0) -> int:
    """Return the bytes of a probe's reply: per layer the squared norm, what else the score needs, and a sketch.

    Norms of weights do not travel: the server holds the weights that were probed.

    Args:
        layers: All are probed.
        statistics: What is measured.
        sketch: Numbers of each layer's sketch.

    Example:
        >>> from fedstrata.domain.layers import Layer, LayerName, Role
        >>> three = LayerMap(tuple(Layer(LayerName(f"h.{i}"), Role.LAYER, ()) for i in range(3)))
        >>> probe_bytes(three, frozenset({Statistic.NORM})), probe_bytes(three, frozenset({Statistic.SAMPLES}))
        (12, 36)
    """
    values = 1 + (Statistic.HALVES in statistics) + 2 * (Statistic.SAMPLES in statistics) + sketch
    return STATISTIC_BYTES * values * len(layers)


def statistics_bytes(stats: tuple[LayerStats, ...]) -> int:
    """Return the bytes of the statistics that a client has measured."""
    values = [
        1
        + any(t.half_dot is not None for t in s.tensors)
        + 2 * any(t.snr_sum is not None for t in s.tensors)
        + len(s.sketch or ())
        for s in stats
    ]
    return STATISTIC_BYTES * sum(values)
