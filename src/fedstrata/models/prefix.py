"""Finds, for any lowest trained block, what a model computes before it and what the rest of the model takes of that.

A forward pass is written down once as a sequence of calls of the modules that hold parameters: blocks, embeddings,
norms, heads. The calls before the first one that holds a trained parameter are the frozen prefix. Of their outputs the
rest of the model takes few: the last one, and whatever later calls are given (an encoder's output in a decoder). These
are kept; the model's own code between calls, which makes masks, positions and rotary embeddings, runs every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import getstate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten

from fedstrata.domain.layers import LayerMap
from fedstrata.models.blocks import find_blocks
from fedstrata.models.profiling.recording import owners_of

Place = tuple[int, int]
"""An output: the number of its call, and its number among the leaves that the call returned."""


@dataclass(frozen=True, slots=True)
class Output:
    """One leaf of what a call returned, without its numbers.

    Attributes:
        shape: Dimensions in the first recording; ``None`` for what is no tensor, which stands in ``value``.
        dtype: Element type.
        by_row: Whether the first dimension is the batch's rows, and no other but the second, if ``by_token``, varies.
        by_token: Whether the second dimension is the texts' tokens.
        through: Which leaf of the call's own inputs it is.
        value: What is no tensor.
    """

    shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None
    by_row: bool = False
    by_token: bool = False
    through: int | None = None
    value: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a module.

    Attributes:
        module: What was called.
        takes: Which outputs of earlier calls it was given, as the very same objects.
        outputs: Leaves of what it returned.
        spec: Their structure.
    """

    module: nn.Module
    takes: tuple[Place, ...]
    outputs: tuple[Output, ...]
    spec: TreeSpec


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """The calls of a forward pass, in order.

    Attributes:
        calls: The calls.
        blocks: Modules that are blocks of a list, as opposed to embeddings, norms and heads.
        ended: Of each call, the modules of any kind that had run when it began and did not run again.
    """

    calls: tuple[Call, ...]
    blocks: frozenset[nn.Module]
    ended: tuple[frozenset[nn.Module], ...]

    def boundary(self, trained: Sequence[nn.Parameter]) -> int | None:
        """Return the number of the first call that holds one of some parameters.

        ``None`` if one of them is in no module that is called here: then nobody can tell where it is used.
        """
        wanted, seen, first = {id(p) for p in trained}, set[int](), None
        for number, call in enumerate(self.calls):
            held = {id(p) for p in call.module.parameters()} & wanted
            if held and first is None:
                first = number
            seen |= held
        return first if seen == wanted else None


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """What comes before one call.

    Attributes:
        calls: The calls before it.
        after: The module that is called then.
        kept: The outputs that stand in for the prefix.
        real: Numbers of the calls that run nevertheless: what they return is not one value per row.
        ended: Modules that run in the prefix alone.
        names: Parameters that its modules hold.
    """

    calls: tuple[Call, ...]
    after: nn.Module
    kept: tuple[Place, ...]
    real: frozenset[int]
    ended: frozenset[nn.Module]
    names: tuple[str, ...]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs that are kept."""
        return tuple(self.calls[call].outputs[place] for call, place in self.kept)


def prefix_at(model: nn.Module, order: Order, number: int, *, every: bool = False) -> Prefix:
    """Return the prefix before a call.

    Args:
        model: The network.
        order: Its calls.
        number: The call.
        every: Whether to keep what each call returns, for models whose own code goes on to use it.
    """
    calls = order.calls[:number]
    if every:
        wanted = {(c, i) for c, call in enumerate(calls) for i, out in enumerate(call.outputs) if _made(out)}
    else:
        wanted = {place for call in order.calls[number:] for place in call.takes if place[0] < number}
        if calls and not any(call == number - 1 for call, _ in wanted):
            wanted |= {(number - 1, i) for i, out in enumerate(calls[-1].outputs) if _made(out)}
    real: set[int] = set()
    waiting = [call for call, i in wanted if not calls[call].outputs[i].by_row]
    while waiting:
        call = waiting.pop()
        if call not in real:
            real.add(call)
            waiting += [c for c, i in calls[call].takes if (c, i) not in wanted or not calls[c].outputs[i].by_row]
    held = {id(p) for call in calls for p in call.module.parameters()}
    return Prefix(
        calls,
        order.calls[number].module,
        tuple(sorted(place for place in wanted if place[0] not in real)),
        frozenset(real),
        order.ended[number],
        tuple(name for name, p in model.named_parameters() if id(p) in held),
    )


def _made(output: Output) -> bool:
    return output.shape is not None and output.through is None


def record_order(model: nn.Module, layers: LayerMap, batches: tuple[Batch, Batch]) -> Order | None:
    """Run a model and write its calls down; ``None`` if it calls its modules in another order for other rows.

    Args:
        model: The network, which is left in training or evaluation mode as it was.
        layers: Its blocks.
        batches: Two, of different numbers of rows and, where texts differ, of tokens.
    """
    first, second = (_Recorder(model, layers).run(batch) for batch in batches)
    modules = [[call.module for call in taken.calls] for taken in (first, second)]
    if not modules[0] or modules[0] != modules[1]:
        return None
    calls = []
    for one, other in zip(first.calls, second.calls, strict=True):
        if one.spec != other.spec:
            return None
        pairs = zip(one.outputs, other.outputs, strict=True)
        outputs = tuple(_output(a, b, batches[0], batches[1]) for a, b in pairs)
        calls.append(Call(one.module, tuple(sorted(set(one.takes))), outputs, one.spec))
    blocks = frozenset(model.get_submodule(path) for path in find_blocks(model))
    return Order(tuple(calls), blocks, first.ended())


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch to record.

    Attributes:
        rows: How many.
        tokens: How many each has; ``None`` for what is no text.
        run: Runs the model on it.
    """

    rows: int
    tokens: int | None
    run: Callable[[], object]


def _output(a: Output, b: Output, one: Batch, other: Batch) -> Output:
    if a.shape is None or b.shape is None or a.through is not None:
        return a
    by_token = one.tokens is not None and len(a.shape) > 1 and (a.shape[1], b.shape[1]) == (one.tokens, other.tokens)
    rest = 2 if by_token else 1
    by_row = bool(a.shape) and (a.shape[0], b.shape[0]) == (one.rows, other.rows) and a.shape[rest:] == b.shape[rest:]
    return Output(a.shape, a.dtype, by_row, by_token)


@dataclass(slots=True)
class _Taken:
    module: nn.Module
    inputs: list[Any]
    takes: list[Place] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    spec: TreeSpec | None = None


class _Recorder:
    """Listens to one forward pass; tensors are held, so that an object is never taken for another."""

    def __init__(self, model: nn.Module, layers: LayerMap) -> None:
        self.calls: list[Any] = []
        self._model, self._cut = model, cut_modules(model, layers)
        self._within = 0
        self._held: list[Any] = []
        self._made: dict[int, Place] = {}
        self._entered: dict[nn.Module, int] = {}
        self._left: dict[nn.Module, int] = {}

    def run(self, batch: Batch) -> _Recorder:
        """Run the model once."""
        with self._hooked():
            batch.run()
        self._held.clear()
        self._made.clear()
        return self

    def ended(self) -> tuple[frozenset[nn.Module], ...]:
        """Return, for each call, the modules that had returned when it began and were not called again."""
        return tuple(
            frozenset(m for m, last in self._entered.items() if last <= n and self._left.get(m, n + 1) <= n)
            for n in range(len(self.calls))
        )

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self._model.modules():
                stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._entered[module] = len(self.calls)
        if module not in self._cut:
            return
        self._within += 1
        if self._within == 1:
            leaves = tree_flatten((args, kwargs))[0]
            self._held += leaves
            taken = _Taken(module, leaves)
            taken.takes = [self._made[id(leaf)] for leaf in leaves if id(leaf) in self._made]
            self.calls.append(taken)

    def _leave(self, module: nn.Module, _args: object, output: object) -> None:
        self._left[module] = len(self.calls)
        if module not in self._cut:
            return
        self._within -= 1
        if self._within:
            return
        call = self.calls[-1]
        leaves, call.spec = tree_flatten(output)
        self._held += leaves
        own = {id(leaf): i for i, leaf in reversed(list(enumerate(call.inputs)))}
        for place, leaf in enumerate(leaves):
            if not isinstance(leaf, Tensor):
                call.outputs.append(Output(value=leaf))
                continue
            through = own.get(id(leaf))
            call.outputs.append(Output(tuple(leaf.shape), leaf.dtype, through=through))
            if through is None:
                self._made.setdefault(id(leaf), (len(self.calls) - 1, place))
        call.inputs = []


def cut_modules(model: nn.Module, layers: LayerMap) -> frozenset[nn.Module]:
    """Return the outermost modules that do the blocks' work; of blocks that are split in halves, the whole ones."""
    owners = owners_of(model, (*layers.never, *layers.layers, *layers.always))
    chosen = {*owners, *(model.get_submodule(path) for path in find_blocks(model))} - {model}
    nested = {inner for module in chosen for inner in module.modules() if inner is not module}
    return frozenset(chosen - nested)


def random_state(model: nn.Module) -> object:
    """Return the state of every generator that a model's code may draw from."""
    device = next(model.parameters()).device
    drawn = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    numbers = np.random.get_state(legacy=False)
    return (drawn.numpy().tobytes(), torch.get_rng_state().numpy().tobytes(), repr(numbers["state"]), getstate())
