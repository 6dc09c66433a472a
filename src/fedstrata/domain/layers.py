"""Layers: what can be selected, what every client trains, and what is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

from fedstrata.domain.ids import LayerName, TensorName

Mask = frozenset[int]
"""The set of layers that one client trains, as 0-based indices into ``LayerMap.layers``."""


class Role(StrEnum):
    """What federated training may do with a block of parameters."""

    LAYER = "layer"
    """Selectable: trained by the clients whose mask holds it."""
    ALWAYS = "always"
    """Trained by every client, outside the budget (head, final norm)."""
    NEVER = "never"
    """Frozen (embeddings, patch stem)."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and size of one parameter tensor.

    Attributes:
        name: Key in the model's state dict.
        shape: Dimensions; ``()`` for a scalar.
        itemsize: Bytes of one element.
    """

    name: TensorName
    shape: tuple[int, ...]
    itemsize: int = 4

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.elements * self.itemsize


@dataclass(frozen=True, slots=True)
class Layer:
    """One block of parameters with one role.

    Attributes:
        name: Path of the block inside the model.
        role: What training may do with it.
        tensors: Parameters owned by this block; a tied tensor belongs to one block alone.
        buffers: Names of the block's buffers (running statistics, position ids); never trained.
        tied_with: Names of other blocks that share a parameter with this one.
        parts: Paths of the modules that do the block's work, where it is not one module that bears its name.
    """

    name: LayerName
    role: Role
    tensors: tuple[TensorSpec, ...]
    buffers: tuple[TensorName, ...] = ()
    tied_with: tuple[LayerName, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of trainable elements."""
        return sum(t.elements for t in self.tensors)

    @property
    def bytes(self) -> int:
        """Size of the parameters in bytes."""
        return sum(t.bytes for t in self.tensors)

    @property
    def tensor_names(self) -> tuple[TensorName, ...]:
        """State-dict keys of the parameters, in model order."""
        return tuple(t.name for t in self.tensors)


@dataclass(frozen=True, slots=True)
class LayerMap:
    """All blocks of a model, each with its role, from input to output.

    Attributes:
        layers: Selectable layers; index 0 is nearest the input.
        always: Blocks that every client trains outside its budget.
        never: Frozen blocks.

    Example:
        >>> block = Layer(LayerName("h.0"), Role.LAYER, (TensorSpec(TensorName("h.0.w"), (2, 3)),))
        >>> layers = LayerMap((block,), (), ())
        >>> len(layers), layers.bytes_of(frozenset({0}))
        (1, 24)
    """

    layers: tuple[Layer, ...]
    always: tuple[Layer, ...] = ()
    never: tuple[Layer, ...] = ()
    _index: dict[LayerName, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the layers by name."""
        object.__setattr__(self, "_index", {layer.name: i for i, layer in enumerate(self.layers)})

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @property
    def names(self) -> tuple[LayerName, ...]:
        """Names of the selectable layers, input to output."""
        return tuple(layer.name for layer in self.layers)

    @property
    def everything(self) -> Mask:
        """The mask that holds every selectable layer."""
        return frozenset(range(len(self.layers)))

    @property
    def trainable(self) -> tuple[Layer, ...]:
        """All blocks that anyone trains: the selectable layers, input to output, then ``always``."""
        return self.layers + self.always

    def index(self, name: LayerName) -> int:
        """Return the 0-based index of a selectable layer."""
        return self._index[name]

    def blocks(self, mask: Mask) -> tuple[Layer, ...]:
        """Return what a client with this mask trains: its layers in order, then ``always``."""
        return tuple(self.layers[i] for i in sorted(mask)) + self.always

    def tensors_of(self, mask: Mask) -> tuple[TensorSpec, ...]:
        """Return the parameters that a client with this mask trains and uploads."""
        return tuple(t for block in self.blocks(mask) for t in block.tensors)

    def bytes_of(self, mask: Mask) -> int:
        """Return the bytes of the deltas that a client with this mask uploads."""
        return sum(block.bytes for block in self.blocks(mask))
