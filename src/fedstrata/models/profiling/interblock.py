"""Measures what a model does outside its blocks, loss included, by running it with blocks replaced by their shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_unflatten

from fedstrata.errors import ModelError
from fedstrata.models.profiling.recording import Call, Leaf, Reach, Recording
from fedstrata.models.profiling.replay import Kept, sink, source
from fedstrata.models.profiling.tracker import Serial, Tracker


@dataclass(frozen=True, slots=True)
class Between:
    """What is done outside every block, for one set of trained blocks.

    Attributes:
        forward: Operations of the forward pass.
        backward: Operations of the backward pass.
        own: Bytes kept for the backward pass that no block takes in or gives out.
        kept: Storages of the recording that are kept.
        forward_peak: Most bytes that come to life after the last block.
        backward_peak: Most bytes that come to life in the backward pass.
    """

    forward: int
    backward: int
    own: int
    kept: frozenset[Serial]
    forward_peak: int
    backward_peak: int


def measure_between(
    model: nn.Module,
    recording: Recording,
    *,
    trained: Reach,
    anyway: Iterable[Tensor],
    run: Callable[[], Tensor],
) -> Between:
    """Run a model forward and backward without its blocks.

    Args:
        model: The model; parameters require gradients where they are trained.
        recording: Its recorded forward pass.
        trained: The blocks that are trained.
        anyway: Tensors that live anyway: the batch.
        run: Runs the model and returns the loss.
    """
    tracker = Tracker((*model.parameters(), *model.buffers(), *anyway))
    kept = Kept(tracker)
    stand_ins = _StandIns(recording, tracker, trained)
    with tracker:
        with stand_ins.in_place(), kept.watching():
            loss = run()
        forward, after = tracker.flops, tracker.live
        outside = {s: tracker.sizes[s] for s in kept.serials if s not in stand_ins.known}
        seen = frozenset(stand_ins.known[s] for s in kept.serials if s in stand_ins.known)
        forward_peak = tracker.peak - stand_ins.level
        ends = [*stand_ins.ends, *([loss] if loss.requires_grad else [])]
        tracker.peak = tracker.live
        if ends:
            torch.autograd.backward(ends)
    for parameter in model.parameters():
        parameter.grad = None
    return Between(
        forward,
        tracker.flops - forward,
        sum(outside.values()),
        seen - {0},
        forward_peak,
        max(0, tracker.peak - after),
    )


class _StandIns:
    """Forward functions that return shapes in the place of blocks."""

    def __init__(self, recording: Recording, tracker: Tracker, trained: Reach) -> None:
        self.known: dict[Serial, Serial] = {}
        self.level = 0
        self.ends: list[Tensor] = []
        self._tracker, self._trained = tracker, trained
        self._calls: Iterator[Call] = iter(recording.calls)
        self._last = recording.calls[-1]
        self._modules = {call.module for call in recording.calls}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put stand-ins in the place of all blocks while the body runs."""
        before = {module: module.__dict__.get("forward") for module in self._modules}
        for module in self._modules:
            module.__dict__["forward"] = self._forward_of(module)
        try:
            yield
        finally:
            for module, own in before.items():
                del module.__dict__["forward"]
                if own is not None:
                    module.__dict__["forward"] = own

    def _forward_of(self, module: nn.Module) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            call = next(self._calls, None)
            if call is None or call.module is not module:
                raise ModelError(f"two forward passes of the model ran its blocks in different orders, at {module}")
            leaves = tree_leaves((args, kwargs))
            pairs = [(t, leaf) for t, leaf in zip(leaves, call.inputs, strict=True) if isinstance(leaf, Leaf)]
            for tensor, leaf in pairs:
                self.known[self._tracker.serial(tensor)] = leaf.serial
            given = {leaf.serial: tensor for tensor, leaf in pairs}
            end = sink(tensor for tensor, _ in pairs if tensor.grad_fn is not None)
            if end is not None:  # made now, so that autograd comes to it when it would come to the block
                self.ends.append(end)
            outputs = [self._stand_in(leaf, given) for leaf in zip(call.outputs, call.output_reach, strict=True)]
            if call is self._last:
                self._tracker.peak = self.level = self._tracker.live
            return tree_unflatten(outputs, call.outputs_spec or call.spec)

        return forward

    def _stand_in(self, output: tuple[Any, Reach], given: Mapping[Serial, Tensor]) -> Any:  # noqa: ANN401
        leaf, reach = output
        if not isinstance(leaf, Leaf):
            return leaf
        needs = bool(reach & self._trained) and leaf.dtype.is_floating_point
        through = given.get(leaf.serial)
        if through is not None and through.requires_grad == needs and through.shape == leaf.shape:
            return through
        tensor = torch.empty_strided(leaf.shape, leaf.stride, dtype=leaf.dtype)
        if needs:
            tensor = source([tensor])[0]
        self.known[self._tracker.serial(tensor, anyway=leaf.serial == 0)] = leaf.serial
        return tensor
