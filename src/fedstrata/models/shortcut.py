"""Runs a model up to a block, and from a block on: the calls before it return what was kept of them, or nothing of use.

What a call of the prefix returns and nobody is to read is filled with NaN: a result that depends on it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_unflatten

from fedstrata.errors import ModelError
from fedstrata.models.prefix import Call, Output, Place, Prefix

Forward = Callable[..., Any]
Act = Callable[[int, Forward, tuple[Any, ...], dict[str, Any]], Any]


class _Reached(BaseException):
    """The boundary was reached; no model's code catches this."""


def up_to(prefix: Prefix, run: Callable[[], object]) -> tuple[Tensor, ...]:
    """Run a model until the prefix is done, and return what is kept of it.

    Args:
        prefix: The calls to run.
        run: Runs the model; it does not come to its end.

    Raises:
        ModelError: The model does not call its modules in the order of the prefix.
    """
    keeping = Keeping(prefix, stop=True)
    try:
        with keeping.on():
            run()
    except _Reached:
        return keeping.values()
    raise ModelError(f"the model ended without calling {type(prefix.after).__name__}, which it called before")


class Keeping:
    """Lets a model run and keeps what its prefix returns.

    Args:
        prefix: The calls.
        stop: Whether the run ends with the prefix.
    """

    def __init__(self, prefix: Prefix, *, stop: bool = False) -> None:
        self._prefix, self._stop = prefix, stop
        self._seen: dict[Place, Tensor] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Listen while the body runs the model once."""
        with _in_place(self._prefix, self._act):
            yield

    def values(self) -> tuple[Tensor, ...]:
        """Return what is kept."""
        return tuple(self._seen[place] for place in self._prefix.kept)

    def _act(self, number: int, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if number == len(self._prefix.calls) and self._stop:
            raise _Reached
        out = forward(*args, **kwargs)
        for place in self._prefix.kept:
            if place[0] == number:  # a copy: what comes after may work in place
                self._seen[place] = tree_leaves(out)[place[1]].clone(memory_format=torch.contiguous_format)
        return out


@contextmanager
def skipped(prefix: Prefix, values: Sequence[Tensor], *, rows: int, tokens: int | None) -> Iterator[None]:
    """Have the calls of a prefix return what was kept of them, for one run of the model in the body.

    Args:
        prefix: The calls.
        values: What is kept, for the rows of the batch.
        rows: Rows of the batch.
        tokens: Tokens of its texts; ``None`` for what is no text.
    """
    kept, blanks = dict(zip(prefix.kept, values, strict=True)), dict[object, Tensor]()
    device = next(prefix.after.parameters()).device

    def leaf(output: Output, place: Place, given: Sequence[Any]) -> Any:  # noqa: ANN401
        if output.shape is None:
            return output.value
        if output.through is not None:
            return given[output.through]
        return kept[place] if place in kept else _blank(output, rows, tokens, device, blanks)

    def act(number: int, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if number >= len(prefix.calls) or number in prefix.real:
            return forward(*args, **kwargs)
        call, given = prefix.calls[number], tree_leaves((args, kwargs))
        leaves = [leaf(output, (number, place), given) for place, output in enumerate(call.outputs)]
        return tree_unflatten(leaves, call.spec)

    with _in_place(prefix, act):
        yield


def _blank(output: Output, rows: int, tokens: int | None, device: torch.device, known: dict[object, Tensor]) -> Tensor:
    """Return a tensor that nobody is to read."""
    shape = list(output.shape or ())
    if output.by_row:
        shape[0] = rows
    if output.by_token and tokens is not None:
        shape[1] = tokens
    key = (tuple(shape), output.dtype)
    if key not in known:
        floating = output.dtype is not None and output.dtype.is_floating_point
        known[key] = torch.full(shape, float("nan") if floating else 0, dtype=output.dtype, device=device)
    return known[key]


@contextmanager
def _in_place(prefix: Prefix, act: Act) -> Iterator[None]:
    """Put a function in the place of every call of the prefix, and of the first one after it."""
    modules = dict.fromkeys([*(call.module for call in prefix.calls), prefix.after])
    before = {module: module.__dict__.get("forward") for module in modules}
    counter = _Counter(prefix.calls)
    for module in modules:
        module.__dict__["forward"] = _counted(counter, module, module.forward, act)
    try:
        yield
    finally:
        for module, own in before.items():
            module.__dict__.pop("forward", None)
            if own is not None:
                module.__dict__["forward"] = own


class _Counter:
    """Which call of the prefix comes next."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.within = False
        """Whether a call is running; what it calls itself is part of it."""
        self._calls, self._next = calls, 0

    def take(self, module: nn.Module) -> int:
        """Return the number of a call that begins.

        Raises:
            ModelError: It is not the call that came here before.
        """
        number = self._next
        self._next += 1
        if number < len(self._calls) and self._calls[number].module is not module:
            raise ModelError(f"two forward passes of the model ran its blocks in different orders, at {module}")
        return number


def _counted(counter: _Counter, module: nn.Module, forward: Forward, act: Act) -> Forward:
    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  whatever the module takes and gives
        if counter.within:
            return forward(*args, **kwargs)
        number, counter.within = counter.take(module), True
        try:
            return act(number, forward, args, kwargs)
        finally:
            counter.within = False

    return run
