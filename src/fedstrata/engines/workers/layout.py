"""Where every trainable tensor lies in the shared memory of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import torch
from pydantic import BeforeValidator, InstanceOf, PlainSerializer
from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Layer, LayerMap, TensorSpec
from fedstrata.errors import TrainingError
from fedstrata.memory_alignment import ALIGNMENT
from fedstrata.wire.digests import Digests
from fedstrata.wire.messages import Weights


def _dtype(name: object) -> object:
    return getattr(torch, str(name), None)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies.

    Attributes:
        offset: Bytes before it; a multiple of ``ALIGNMENT``.
        dtype: Its type.
    """

    offset: int
    dtype: Annotated[InstanceOf[torch.dtype], BeforeValidator(_dtype), PlainSerializer(_name)]


@dataclass(frozen=True, slots=True)
class Layout:
    """All blocks that clients may train, and the place of each of their tensors.

    Attributes:
        layers: The selectable layers and ``always``; without ``never`` blocks, which do not travel.
        places: Place of each tensor.
        bytes: Size of the whole, at least 1.

    Example:
        >>> from fedstrata.domain.layers import LayerName, Role, TensorSpec
        >>> spec = TensorSpec(TensorName("w"), (2, 3))
        >>> blocks = LayerMap((Layer(LayerName("h"), Role.LAYER, (spec,)),))
        >>> layout = Layout.of(blocks, {TensorName("w"): torch.zeros(2, 3)})
        >>> layout.bytes
        64
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

    def digest(self, block: Layer, weights: Weights, known: Digests) -> str:
        """Return the content hash of a block of some weights, which have to be of this layout.

        Raises:
            TrainingError: They are not.
        """
        try:
            for spec in block.tensors:
                self._check(spec, weights[spec.name])
            return known.of(block, weights)
        except KeyError as missing:
            raise TrainingError(f"the weights lack {missing}, which the workers' layout has") from missing

    def _check(self, spec: TensorSpec, tensor: Tensor) -> None:
        wanted = self.places[spec.name].dtype
        if tuple(tensor.shape) != spec.shape or tensor.dtype != wanted:
            raise TrainingError(
                f"{spec.name} is {tensor.dtype} {tuple(tensor.shape)}, the workers' layout has {wanted} {spec.shape}"
            )
