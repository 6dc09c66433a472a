"""A measured step small enough to price by hand."""

from __future__ import annotations

import numpy as np

from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.profile import ALWAYS, NEVER, StepProfile


def _block(name: str, elements: int, role: Role = Role.LAYER) -> Layer:
    return Layer(LayerName(name), role, (TensorSpec(TensorName(f"{name}.w"), (elements,)),))


LAYERS = LayerMap(
    tuple(_block(f"h.{i}", 10 + i) for i in range(4)),
    (_block("head", 5, Role.ALWAYS),),
    (_block("stem", 50, Role.NEVER),),
)
"""Four layers of 40, 44, 48 and 52 bytes, a head of 20, a frozen stem of 200."""

PHONE = DeviceProfile(
    forward=100, carry=50, weight=25, update=1000, step=0.5, visit=1, upload=10, download=20, memory=4000, name="phone"
)


def profile(*, length: int | None = None, scale: int = 1) -> StepProfile:
    """Return the step of ``LAYERS`` for four rows: stem, four layers, head."""
    carry = np.zeros((5, 6), dtype=np.int64)
    saved = np.zeros((5, 6), dtype=np.int64)
    for lowest in range(5):
        carry[lowest, lowest + 2 :] = 30
        carry[lowest, 5] = 3 if lowest < 4 else 0
        saved[lowest, lowest + 1 : 5] = 100
        saved[lowest, 5] = 10
    return StepProfile(
        rows=4,
        length=length,
        layers=4,
        blocks=tuple(LayerName(n) for n in ("stem", "h.0", "h.1", "h.2", "h.3", "head")),
        layer=(NEVER, 0, 1, 2, 3, ALWAYS),
        forward=scale * np.array([8, 40, 40, 40, 40, 4]),
        carry=scale * carry,
        weight=scale * np.array([0, 20, 21, 22, 23, 2]),
        saved=scale * saved,
        saved_extra=scale * np.array([0, 7, 7, 7, 7, 0]),
        forward_peak=scale * np.full((5, 6), 5),
        backward_peak=scale * np.full((5, 6), 60),
        batch_bytes=16 * scale,
    )
