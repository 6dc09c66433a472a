"""Follows tensors while code runs: operations, and bytes of storage that are alive, now and at their peak.

A dispatch mode sees every tensor that an operation returns, real or fake; a weak reference to its storage tells when
it dies. What kernels allocate inside themselves is not seen. Operations are counted by torch's own formulas
(``torch.utils.flop_counter``), a multiply-add as two, with two formulas that torch lacks.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_Shape = Sequence[int]
Serial = int
"""A storage's number in one tracker; 0 stands for storages that live anyway."""
ALIVE_ANYWAY: Serial = 0


class Tracker(TorchDispatchMode):
    """Counts operations and bytes while it is entered.

    Args:
        anyway: Tensors whose memory is not counted: parameters, buffers, the batch.

    Example:
        >>> with Tracker() as tracker:
        ...     product = torch.ones(2, 4) @ torch.ones(4, 3)
        >>> tracker.flops, tracker.live, tracker.peak
        (48, 24, 104)
    """

    def __init__(self, anyway: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.live = self.peak = 0
        self.trace: list[object] | None = None
        self.sizes: dict[Serial, int] = {ALIVE_ANYWAY: 0}
        self._serials: dict[int, Serial] = {}
        for tensor in anyway:
            self.serial(tensor, anyway=True)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = FORMULAS.get(getattr(func, "_overloadpacket", func))
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        leaves = (out,) if isinstance(out, Tensor) else tree_leaves(out)
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                self.serial(leaf)
        if self.trace is not None:
            self.trace.append((func, shape_key(args), shape_key(kwargs), shape_key(leaves)))
        return out

    def serial(self, tensor: Tensor, *, anyway: bool = False) -> Serial:
        """Return the number of a tensor's storage, which is followed from now on."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        found = self._serials.get(key)
        if found is not None:
            return found
        number = ALIVE_ANYWAY if anyway else len(self.sizes)
        self._serials[key] = number
        if number:
            self.sizes[number] = storage.nbytes()
            self.live += self.sizes[number]
            self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, key, number)
        return number

    def alive(self) -> frozenset[Serial]:
        """Return the numbers of the storages that are alive and counted."""
        return frozenset(self._serials.values()) - {ALIVE_ANYWAY}

    def _freed(self, key: int, number: Serial) -> None:
        del self._serials[key]
        self.live -= self.sizes[number]


def shape_key(value: Any) -> object:  # noqa: ANN401
    """Return something hashable that is equal for equal shapes and numbers.

    Example:
        >>> shape_key((torch.ones(2, 3), 1.5)) == shape_key([torch.zeros(2, 3), 1.5])
        True
    """
    if isinstance(value, Tensor):
        return (value.shape, value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple(shape_key(item) for item in value)
    if isinstance(value, Mapping):
        return tuple((key, shape_key(item)) for key, item in value.items())
    return value if isinstance(value, (int, float, str, type(None), torch.dtype, torch.device)) else str(value)


def _convolution_backward(
    grad: Tensor,
    inputs: Tensor,
    weight: Tensor,
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,  # noqa: FBT001
    _output_padding: object,
    _groups: int,
    output_mask: Sequence[bool],
    **_: object,
) -> int:
    """Return the operations of a convolution's backward pass: as many again for each gradient that is asked for.

    Torch's own formula takes no notice of groups, and counts a depthwise weight gradient channels times over.
    """
    places: _Shape = inputs.shape if transposed else grad.shape
    return 2 * prod(weight.shape) * places[0] * prod(places[2:]) * sum(output_mask[:2])


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query.shape, _heads(key, query), _heads(value, query)))


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, _heads(key, query), _heads(value, query)))


def _heads(tensor: Tensor, query: Tensor) -> _Shape:
    """Return the shape of keys or values that every head of the query works with, shared ones counted per head."""
    return (tensor.shape[0], query.shape[1], *tensor.shape[2:])


FORMULAS: Mapping[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations of each kind of call, given its arguments and ``out_val``."""
