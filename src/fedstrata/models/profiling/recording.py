"""Runs a model once with everything trained and writes down what each of its blocks is called with.

Nothing is computed: model and batch are fake tensors. What autograd would keep is let go as it is handed over, so
storages die when the model's own code lets go of them, and it is known which of them outlive a block. The autograd
graph itself is followed once, to see from which layers' weights each block's inputs are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten

from fedstrata.domain.layers import Layer, LayerMap
from fedstrata.errors import ModelError
from fedstrata.models.profiling.tracker import Serial, Tracker, shape_key

Reach = int
"""A set of blocks as bits: ``1 << l`` for selectable layer ``l``, ``1 << layers`` for every ``always`` block."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """The outside of a tensor at the edge of a block.

    Attributes:
        shape: Dimensions.
        stride: Strides.
        dtype: Element type.
        serial: Its storage.
        place: Position among the different tensors of its call; one that is passed twice has one place.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    serial: Serial
    place: int

    @property
    def key(self) -> object:
        """What must be equal for two leaves to behave alike."""
        return (self.shape, self.stride, self.dtype, self.place, self.serial == 0)


@dataclass(slots=True)
class Call:
    """One outermost call of a block's module; tensors among the leaves are ``Leaf``, others stand as they are.

    Attributes:
        block: Index of the block.
        module: What was called.
        inputs: Leaves of ``(args, kwargs)``.
        spec: Their structure.
        entry: Storages that the model's own code held when the call began.
        grad: Whether autograd was on.
        since: Storages that were held since the call before had returned, such as both terms of a residual sum.
        outputs: Leaves of what was returned.
        outputs_spec: Their structure.
        signature: A number, equal for calls that do the same operations on the same shapes.
        reach: Of each input, the blocks whose weights it is computed from.
        output_reach: The same of each output.
        used: Whether the loss depends on each output through autograd.
    """

    block: int
    module: nn.Module
    inputs: list[Any]
    spec: TreeSpec
    entry: frozenset[Serial]
    grad: bool
    since: frozenset[Serial] = frozenset()
    outputs: list[Any] = field(default_factory=list)
    outputs_spec: TreeSpec | None = None
    signature: int = 0
    reach: tuple[Reach, ...] = ()
    output_reach: tuple[Reach, ...] = ()
    used: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """What one forward pass did.

    Attributes:
        calls: Calls of blocks in order.
        sizes: Bytes of each storage.
        exit: Storages that the model's own code held when the last call had returned.
    """

    calls: list[Call]
    sizes: Mapping[Serial, int]
    exit: frozenset[Serial]


def owners_of(model: nn.Module, blocks: Sequence[Layer]) -> dict[nn.Module, int]:
    """Return the modules that do each block's work: its own, and then the holders of what was joined to it."""
    modules = dict(model.named_modules(remove_duplicate=False))
    owners: dict[nn.Module, int] = {}
    for i, block in enumerate(blocks):
        for part in block.parts or (block.name,):
            if part in modules:
                owners.setdefault(modules[part], i)
    for i, block in enumerate(blocks):
        for tensor in block.tensors:
            if not any(tensor.name.startswith(f"{part}.") for part in block.parts or (block.name,)):
                holder = modules[tensor.name.rpartition(".")[0]]
                if not any(True for _ in holder.children()):
                    owners.setdefault(holder, i)
    return owners


def record(model: nn.Module, layers: LayerMap, anyway: Iterable[Tensor], run: Callable[[], Tensor]) -> Recording:
    """Run a model forward once and return the calls of its blocks, numbered never, layers, always.

    Args:
        model: A model of fake tensors whose ``never`` parameters alone are frozen.
        layers: Its blocks.
        anyway: Tensors that live anyway: the batch.
        run: Runs the model and returns the loss.
    """
    tracker = Tracker((*model.parameters(), *model.buffers(), *anyway))
    recorder = _Recorder(model, tracker, (*layers.never, *layers.layers, *layers.always))
    with recorder.hooked(), tracker, torch.autograd.graph.saved_tensors_hooks(lambda _: None, _lost):
        loss = run()
    recorder.resolve(loss, _bits(model, layers))
    return Recording(recorder.calls, tracker.sizes, recorder.exit)


def _lost(_: object) -> Tensor:
    raise ModelError("a model that differentiates inside its own forward pass cannot be measured")


def _bits(model: nn.Module, layers: LayerMap) -> dict[int, Reach]:
    """Return the bit of each trainable parameter, by its id."""
    named = dict(model.named_parameters())
    bits = {id(named[t.name]): 1 << i for i, layer in enumerate(layers) for t in layer.tensors}
    return bits | {id(named[t.name]): 1 << len(layers) for block in layers.always for t in block.tensors}


class _Recorder:
    """Writes down the outermost calls of blocks as they happen."""

    def __init__(self, model: nn.Module, tracker: Tracker, blocks: Sequence[Layer]) -> None:
        self.tracker = tracker
        self.calls: list[Call] = []
        self.exit: frozenset[Serial] = frozenset()
        self._owners = owners_of(model, blocks)
        self._structures: dict[nn.Module, object] = {}
        self._own = {id(p): i for i, block in enumerate(blocks) for p in _parameters(model, block)}
        self._signatures: dict[object, int] = {}
        self._within = 0
        self._sources: list[list[Any]] = []
        self._results: list[list[Any]] = []

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Listen to the blocks while the body runs."""
        with ExitStack() as stack:
            for module in self._owners:
                stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._within += 1
        if self._within > 1:
            return
        held = self.tracker.alive()
        leaves, spec = tree_flatten((args, kwargs))
        inputs, sources = self._outside(leaves)
        self._sources.append(sources)
        grad = torch.is_grad_enabled()
        self.calls.append(Call(self._owners[module], module, inputs, spec, held, grad, since=held | self.exit))
        self.tracker.trace = []

    def _leave(self, module: nn.Module, _args: object, output: object) -> None:
        self._within -= 1
        if self._within:
            return
        call = self.calls[-1]
        trace, self.tracker.trace = self.tracker.trace, None
        leaves, call.outputs_spec = tree_flatten(output)
        call.outputs, results = self._outside(leaves)
        self._results.append(results)
        edges = tuple(leaf.key if isinstance(leaf, Leaf) else _plain(leaf) for leaf in call.inputs)
        signature = (self._structure(module, call.block), edges, call.spec, call.grad, tuple(trace or ()))
        call.signature = self._signatures.setdefault(signature, len(self._signatures))
        self.exit = self.tracker.alive()

    def _outside(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return leaves without their tensors, and the autograd nodes that made those."""
        outside: list[Any] = []
        sources: list[Any] = []
        places: dict[object, int] = {}
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                outside.append(leaf)
                sources.append(None)
                continue
            serial = self.tracker.serial(leaf)
            key = (leaf.untyped_storage()._cdata, leaf.storage_offset(), leaf.shape, leaf.stride(), leaf.dtype)
            place = places.setdefault(key, len(places))
            outside.append(Leaf(tuple(leaf.shape), leaf.stride(), leaf.dtype, serial, place))
            sources.append(leaf.grad_fn if leaf.grad_fn is not None else leaf if leaf.requires_grad else None)
        return outside, sources

    def _structure(self, module: nn.Module, block: int) -> object:
        if module not in self._structures:
            classes = tuple(type(m) for m in module.modules())
            parameters = tuple((n, p.shape, self._own.get(id(p)) == block) for n, p in module.named_parameters())
            self._structures[module] = (classes, parameters)
        return self._structures[module]

    def resolve(self, loss: Tensor, bits: Mapping[int, Reach]) -> None:
        """Say of every call where its inputs come from and which of its outputs the loss depends on."""
        reaches: dict[Any, Reach] = {}
        _reach(loss.grad_fn, bits, reaches)
        behind_loss = set(reaches)
        for call, sources, results in zip(self.calls, self._sources, self._results, strict=True):
            call.reach = tuple(_reach(source, bits, reaches) for source in sources)
            call.output_reach = tuple(_reach(result, bits, reaches) for result in results)
            call.used = tuple(source in behind_loss for source in results)


def _parameters(model: nn.Module, block: Layer) -> Iterator[nn.Parameter]:
    named = dict(model.named_parameters())
    yield from (named[tensor.name] for tensor in block.tensors)


def _reach(source: Any, bits: Mapping[int, Reach], known: dict[Any, Reach]) -> Reach:  # noqa: ANN401
    """Return the blocks that an autograd node goes back to; ``known`` remembers every node on the way."""
    if source is None or isinstance(source, Tensor):
        return bits.get(id(source), 0)
    stack = [source]
    while stack:
        node = stack[-1]
        if node in known:
            stack.pop()
            continue
        behind = [parent for parent, _ in node.next_functions if parent is not None]
        waiting = [parent for parent in behind if parent not in known]
        if waiting:
            stack.extend(waiting)
            continue
        found = bits.get(id(node.variable), 0) if hasattr(node, "variable") else 0
        for parent in behind:
            found |= known[parent]
        known[stack.pop()] = found
    return known[source]


def _plain(value: Any) -> object:  # noqa: ANN401
    simple = isinstance(value, (int, float, str, type(None), torch.dtype))
    return (type(value), shape_key(value)) if simple else id(value)
