"""Runs one recorded call of a block alone, forward and backward, and measures what it does and keeps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_unflatten

from fedstrata.models.profiling.recording import Call, Leaf
from fedstrata.models.profiling.tracker import Serial, Tracker


@dataclass(frozen=True, slots=True)
class Replay:
    """What one call costs, for one choice of inputs that need a gradient and for trained or frozen weights.

    Attributes:
        forward: Operations of the forward pass.
        backward: Operations of the backward pass.
        own: Bytes kept for the backward pass that neither came in nor go out.
        inputs: Positions of the input leaves whose storage is kept.
        outputs: Positions of the output leaves whose storage is kept.
        forward_peak: Most bytes alive at a time in the forward pass, its inputs aside.
        backward_peak: Most bytes alive at a time in the backward pass, all that was kept and all gradients included.
    """

    forward: int
    backward: int
    own: int
    inputs: frozenset[int]
    outputs: frozenset[int]
    forward_peak: int
    backward_peak: int


def replay(call: Call, parameters: Sequence[nn.Parameter], needs: Sequence[bool], *, trained: bool) -> Replay:
    """Run a call again on fresh tensors.

    Args:
        call: What to run; its module and this function's caller are inside the same fake mode.
        parameters: The block's own parameters; all others in its module are frozen.
        needs: Which input leaves need a gradient.
        trained: Whether the block's own parameters do.
    """
    for parameter in call.module.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    for parameter in parameters:
        parameter.requires_grad_(trained)
    tracker = Tracker((*call.module.parameters(), *call.module.buffers()))
    inputs = _fresh(call.inputs, needs, tracker)
    kept = Kept(tracker)
    with tracker:
        before = tracker.live
        with kept.watching(), nullcontext() if call.grad else torch.no_grad():
            args, kwargs = tree_unflatten(inputs, call.spec)
            result = call.module(*args, **kwargs)
        forward, forward_peak = tracker.flops, tracker.peak - before
        outputs = tree_leaves(result)
        kept_inputs, kept_outputs = kept.among(inputs, call.inputs), kept.among(outputs, call.outputs)
        taken = {tracker.serial(t) for t in (*inputs, *outputs) if isinstance(t, Tensor)}
        own = sum(tracker.sizes[s] for s in kept.serials - taken)
        loss = sink(t for t, used in zip(outputs, call.used, strict=True) if used)
        del result, outputs, inputs, args, kwargs
        tracker.peak = tracker.live
        if loss is not None:
            loss.backward()
    for parameter in parameters:
        parameter.grad = None
    return Replay(forward, tracker.flops - forward, own, kept_inputs, kept_outputs, forward_peak, tracker.peak)


class Kept:
    """Numbers the storages that autograd keeps, those that live anyway aside."""

    def __init__(self, tracker: Tracker) -> None:
        self.serials: set[Serial] = set()
        self._tracker = tracker

    def watching(self) -> Any:  # noqa: ANN401
        """Return a context in which whatever autograd keeps is noticed."""
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        serial = self._tracker.serial(tensor)
        if serial:
            self.serials.add(serial)
        return tensor

    def among(self, tensors: Sequence[Any], leaves: Sequence[Any]) -> frozenset[int]:
        """Return the positions of tensors whose storage is kept."""
        pairs = enumerate(zip(tensors, leaves, strict=True))
        return frozenset(
            i for i, (t, leaf) in pairs if isinstance(leaf, Leaf) and self._tracker.serial(t) in self.serials
        )


def _fresh(leaves: Sequence[Any], needs: Sequence[bool], tracker: Tracker) -> list[Any]:
    """Return tensors for the leaves; those that need a gradient come out of a node, as in the whole model."""
    made: dict[int, Tensor] = {}
    wanted = [leaf.place for leaf, need in zip(leaves, needs, strict=True) if need]
    for leaf in leaves:
        if isinstance(leaf, Leaf) and leaf.place not in made:
            made[leaf.place] = torch.empty_strided(leaf.shape, leaf.stride, dtype=leaf.dtype)
    wanted = list(dict.fromkeys(wanted))
    if wanted:
        made |= dict(zip(wanted, source([made[place] for place in wanted]), strict=True))
    for leaf in leaves:
        if isinstance(leaf, Leaf):
            tracker.serial(made[leaf.place], anyway=leaf.serial == 0)
    return [made[leaf.place] if isinstance(leaf, Leaf) else leaf for leaf in leaves]


def source(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return tensors of the same shapes that need a gradient and look computed."""
    made: tuple[Tensor, ...] = _Source.apply(torch.empty((), requires_grad=True), *tensors)  # type: ignore[no-untyped-call]
    return made


def sink(tensors: Any) -> Tensor | None:  # noqa: ANN401
    """Return a scalar whose backward pass hands fresh gradients to the tensors, or ``None`` if none takes any."""
    targets = list({id(t): t for t in tensors if isinstance(t, Tensor) and t.requires_grad}.values())
    return _Sink.apply(*targets) if targets else None  # type: ignore[no-untyped-call]


class _Source(torch.autograd.Function):
    """Lets tensors look computed, at no cost."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        return tuple(torch.empty_strided(t.shape, t.stride(), dtype=t.dtype) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:  # noqa: ANN401
        return (None,) * (len(gradients) + 1)


class _Sink(torch.autograd.Function):
    """Ends a graph in a scalar that keeps nothing alive."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:  # noqa: ANN401
        ctx.like = [(t.shape, t.dtype) for t in tensors]
        return torch.empty(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        return tuple(torch.empty(shape, dtype=dtype) for shape, dtype in ctx.like)
