"""Where every trainable tensor lies in the shared memory of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from fedstrata.alignment import ALIGNMENT
from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies.

    Attributes:
        offset: Bytes before it; a multiple of ``ALIGNMENT``.
        dtype: Its type.
    """

    offset: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Layout:
    """All blocks that clients may train, and the place of each of their tensors.

    Attributes:
        layers: The selectable layers and ``always``; without ``never`` blocks, which do not travel.
        places: Place of each tensor.
        bytes: Size of the whole, at least 1.

    Example:
        >>> spec = TensorSpec(TensorName("w"), (2, 3))
        >>> blocks = LayerMap((Layer(LayerName("h"), Role.LAYER, (spec,)),))
        >>> layout = Layout.of(blocks, {TensorName("w"): torch.zeros(2, 3)})
        >>> layout.bytes, Layout.from_json(layout.to_json()) == layout
        (64, True)
    """

    layers: LayerMap
    places: Mapping[TensorName, Place]
    bytes: int

    @classmethod
    def of(cls, layers: LayerMap, weights: Weights) -> Self:
        """Return the layout of some blocks; types are those of the weights."""
        places, end = {}, 0
        for block in layers.trainable:
            for spec in block.tensors:
                tensor = weights[spec.name]
                places[spec.name] = Place(end, tensor.dtype)
                end += -(-tensor.numel() * tensor.element_size() // ALIGNMENT) * ALIGNMENT
        return cls(LayerMap(layers.layers, layers.always), places, max(end, 1))

    @property
    def blocks(self) -> tuple[Layer, ...]:
        """The layers in order, then ``always``."""
        return self.layers.trainable

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"layers": self._said(self.layers.layers), "always": self._said(self.layers.always), "bytes": self.bytes}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote down."""
        layers = LayerMap(_blocks(said["layers"], Role.LAYER), _blocks(said["always"], Role.ALWAYS))
        tensors = (tensor for block in (*said["layers"], *said["always"]) for tensor in block["tensors"])
        places = {TensorName(name): Place(offset, getattr(torch, dtype)) for name, _, _, offset, dtype in tensors}
        return cls(layers, places, said["bytes"])

    def _said(self, blocks: Iterable[Layer]) -> list[dict[str, Any]]:
        return [{"name": b.name, "tensors": [[*self._tensor(s)] for s in b.tensors]} for b in blocks]

    def _tensor(self, spec: TensorSpec) -> tuple[str, tuple[int, ...], int, int, str]:
        place = self.places[spec.name]
        return spec.name, spec.shape, spec.itemsize, place.offset, str(place.dtype).removeprefix("torch.")


def _blocks(said: Iterable[Mapping[str, Any]], role: Role) -> tuple[Layer, ...]:
    def spec(name: str, shape: list[int], itemsize: int) -> TensorSpec:
        return TensorSpec(TensorName(name), tuple(shape), itemsize)

    return tuple(Layer(LayerName(b["name"]), role, tuple(spec(*t[:3]) for t in b["tensors"])) for b in said)
