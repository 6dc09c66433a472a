"""Measures the floating-point operations of every block, forward and backward, by running it on the meta device.

One forward pass of the whole model records what each block is called with. Each block is then run alone under
``torch.utils.flop_counter``, with its backward pass taken once for the inputs' gradient alone and once with the
weights' gradient too; their difference is the price of the weights. Nothing is estimated from parameter counts.
Only matrix products, convolutions and attention are counted, a multiply-add as two operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.errors import ModelError

_Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
_Shape = Sequence[int]


@dataclass(frozen=True, slots=True)
class BlockFlops:
    """Floating-point operations of one block for one batch.

    Attributes:
        forward: Operations of the forward pass.
        activation_gradient: Operations that carry the gradient through the block to its inputs.
        weight_gradient: Operations that the gradient of the block's own weights adds to that.

    Example:
        >>> BlockFlops(2, 2, 2) + BlockFlops(1, 0, 1)
        BlockFlops(forward=3, activation_gradient=2, weight_gradient=3)
    """

    forward: int = 0
    activation_gradient: int = 0
    weight_gradient: int = 0

    @property
    def backward(self) -> int:
        """Operations of the whole backward pass when the block is trained."""
        return self.activation_gradient + self.weight_gradient

    def __add__(self, other: BlockFlops) -> BlockFlops:
        return BlockFlops(
            self.forward + other.forward,
            self.activation_gradient + other.activation_gradient,
            self.weight_gradient + other.weight_gradient,
        )


@dataclass(frozen=True, slots=True)
class FlopReport:
    """What was measured.

    Attributes:
        blocks: One entry per block that the forward pass reached.
        problem: Why the forward pass stopped before the end, or ``None``; blocks after that are not in ``blocks``.
    """

    blocks: Mapping[LayerName, BlockFlops]
    problem: str | None = None


def layer_flops(model: nn.Module, layers: LayerMap, inputs: Mapping[str, Any]) -> FlopReport:
    """Return the operations of every block for one batch.

    Args:
        model: The network, best built on the meta device so that nothing is computed; its mode, its
            ``requires_grad`` flags and its weights come back as they were.
        layers: The model's blocks.
        inputs: Keyword arguments of one forward pass, on the model's device.

    Raises:
        ModelError: The forward pass stops before it reaches any selectable layer.

    Example:
        >>> from fedstrata.models.partition import partition
        >>> class Net(nn.Module):
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.blocks = nn.ModuleList([nn.Linear(4, 4, device="meta") for _ in range(2)])
        ...     def forward(self, x):
        ...         return self.blocks[1](self.blocks[0](x))
        >>> net = Net()
        >>> layer_flops(net, partition(net), {"x": torch.empty(8, 4, device="meta")}).blocks["blocks.0"]
        BlockFlops(forward=256, activation_gradient=256, weight_gradient=256)
    """
    blocks = (*layers.never, *layers.layers, *layers.always)
    with _untouched(model):
        calls, problem = _record_calls(model, blocks, inputs)
        measured: dict[LayerName, BlockFlops] = {}
        for name, made in calls.items():
            try:
                measured[name] = sum((_measure(call) for call in made), start=BlockFlops())
            except Exception as error:  # whatever a model's own code raises on the meta device
                problem = problem or _sentence(error)
        if problem is not None and not any(layer.name in measured for layer in layers):
            raise ModelError(f"cannot measure {type(model).__name__}: its forward pass fails: {problem}")
    return FlopReport(measured, problem)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Run the body in evaluation mode and restore every mode and gradient flag."""
    modes = {module: module.training for module in model.modules()}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


def _modules_of(model: nn.Module, block: Layer) -> list[nn.Module]:
    """Return the modules that do a block's work: itself, and the holders of what was joined to it."""
    modules = dict(model.named_modules(remove_duplicate=False))
    found = [modules[block.name]] if block.name in modules else []
    for tensor in block.tensors:
        if not tensor.name.startswith(f"{block.name}."):
            holder = modules[tensor.name.rpartition(".")[0]]
            if holder not in found and not any(True for _ in holder.children()):
                found.append(holder)
    return found


def _record_calls(
    model: nn.Module, blocks: tuple[Layer, ...], inputs: Mapping[str, Any]
) -> tuple[dict[LayerName, list[_Call]], str | None]:
    calls: dict[LayerName, list[_Call]] = {}
    hooks = []
    for block in blocks:
        for module in _modules_of(model, block):

            def record(
                module: nn.Module,
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                name: LayerName = block.name,
            ) -> None:
                calls.setdefault(name, []).append((module, args, kwargs))

            hooks.append(module.register_forward_pre_hook(record, with_kwargs=True))
    problem = None
    try:
        with torch.no_grad():
            model(**inputs)
    except Exception as error:  # whatever a model's own code raises on the meta device
        problem = _sentence(error)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, problem


def _measure(call: _Call) -> BlockFlops:
    module, args, kwargs = call
    with torch.no_grad(), _counter() as counter:
        module(*args, **kwargs)
    through = _backward_flops(call, weights=False)
    both = _backward_flops(call, weights=True)
    return BlockFlops(counter.get_total_flops(), through, both - through)


def _backward_flops(call: _Call, *, weights: bool) -> int:
    module, args, kwargs = call
    for parameter in module.parameters():
        parameter.requires_grad_(weights)
    args, kwargs = tree_map(_leaf, (args, kwargs))
    with torch.enable_grad():
        outputs = module(*args, **kwargs)
    targets = [t for t in _floats(outputs) if t.requires_grad]
    sources = [t for t in (*_floats((args, kwargs)), *module.parameters()) if t.requires_grad]
    if not targets or not sources:
        return 0
    with _counter() as counter:
        torch.autograd.grad(targets, sources, [torch.empty_like(t) for t in targets], allow_unused=True)
    return int(counter.get_total_flops())


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward})


def _convolution_backward(
    grad: _Shape,
    inputs: _Shape,
    weight: _Shape,
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,  # noqa: FBT001
    _output_padding: object,
    _groups: int,
    output_mask: Sequence[bool],
    out_shape: object = None,
) -> int:
    """Return the operations of a convolution's backward pass: as many again for each gradient that is asked for.

    Torch's own formula takes no notice of groups, and counts a depthwise weight gradient channels times over.
    """
    places = inputs if transposed else grad
    once = 2 * prod(weight) * places[0] * prod(places[2:])
    return once * sum(output_mask[:2])


def _sentence(error: Exception) -> str:
    words = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {words[:160]}"


def _leaf(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().requires_grad_()
    return value


def _floats(tree: Any) -> list[Tensor]:  # noqa: ANN401
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
