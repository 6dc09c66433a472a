"""Bytes of what clients and server send each other, framing aside."""

from __future__ import annotations

from fedstrata.domain.layers import LayerMap
from fedstrata.domain.stats import LayerStats, Statistic

STATISTIC_BYTES = 4
"""A statistic travels as one float32 per layer; tensors of a layer add up before they are sent."""


def mask_bytes(layers: LayerMap) -> int:
    """Return the bytes of a mask: one bit per layer."""
    return (len(layers) + 7) // 8


def probe_bytes(layers: LayerMap, statistics: frozenset[Statistic]) -> int:
    """Return the bytes of a probe's reply: per layer the squared norm and what else the score needs.

    Norms of weights do not travel: the server holds the weights that were probed.

    Example:
        >>> from fedstrata.domain.layers import Layer, LayerName, Role
        >>> three = LayerMap(tuple(Layer(LayerName(f"h.{i}"), Role.LAYER, ()) for i in range(3)))
        >>> probe_bytes(three, frozenset({Statistic.NORM})), probe_bytes(three, frozenset({Statistic.SAMPLES}))
        (12, 36)
    """
    values = 1 + (Statistic.HALVES in statistics) + 2 * (Statistic.SAMPLES in statistics)
    return STATISTIC_BYTES * values * len(layers)


def statistics_bytes(stats: tuple[LayerStats, ...]) -> int:
    """Return the bytes of the statistics that a client has measured."""
    values = [
        1 + any(t.half_dot is not None for t in s.tensors) + 2 * any(t.snr_sum is not None for t in s.tensors)
        for s in stats
    ]
    return STATISTIC_BYTES * sum(values)
