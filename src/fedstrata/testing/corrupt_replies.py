"""Replies made wrong on purpose: values that are not what was asked for, and lies that look well-formed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, nan, sqrt

import numpy as np
import torch
from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Layer, TensorSpec
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.testing.faults import Fault, Kind
from fedstrata.wire.messages import Evaluated, Failure, Origin, Probed, Reply, Update

HUGE = 1e38


def changed(reply: Reply, fault: Fault, rng: np.random.Generator) -> Reply | None:
    """Return a reply as a fault makes it, or ``None`` if such a reply cannot have such a fault."""
    if isinstance(reply, Failure):
        return None
    match fault.kind:
        case Kind.NONFINITE:
            return _with_value(reply, float(rng.choice([nan, inf, -inf])))
        case Kind.HUGE:
            return _with_value(reply, HUGE)
        case Kind.WRONG_SHAPE:
            return _misshapen(reply)
        case Kind.WRONG_NAME:
            return _renamed(reply)
        case Kind.ROWS_LIE:
            return _of_more_rows(reply, fault.amount)
        case Kind.SCORE_LIE:
            return _louder(reply, fault.amount)
    return None


def different(reply: Reply) -> Reply | None:
    """Return another answer to the same request, as well-formed as the first."""
    match reply:
        case Probed():
            return replace(reply, loss=reply.loss + 1.0)
        case Update():
            doubled = {name: 2 * delta for name, delta in reply.deltas.items()}
            return replace(reply, deltas=doubled, steps=reply.steps + 1)
        case Evaluated():
            return replace(reply, loss_sum=reply.loss_sum + 1.0)
        case _:
            return None


def outdated(reply: Reply, rng: np.random.Generator) -> Reply:
    """Return a reply as if it belonged to the round before, to another run, attempt or to other weights."""
    o = reply.origin
    others = [Origin(f"{o.run}x", o.attempt, o.base), Origin(o.run, o.attempt + 1, o.base), replace(o, base="0")]
    way = int(rng.integers(4 if reply.round > 0 else 3))
    return replace(reply, round=reply.round - 1) if way == 3 else replace(reply, origin=others[way])


def blocks_of(reply: Reply, blocks: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the blocks that an update really holds: those asked for, with its own names; others in the last one."""
    if not isinstance(reply, Update):
        return ()
    known = {name for block in blocks for name in block.tensor_names}
    kept = [replace(b, tensors=tuple(t for t in b.tensors if t.name in reply.deltas)) for b in blocks]
    extra = tuple(TensorSpec(n, tuple(d.shape)) for n, d in reply.deltas.items() if n not in known)
    if extra and kept:
        kept[-1] = replace(kept[-1], tensors=(*kept[-1].tensors, *extra))
    return tuple(kept)


def _with_value(reply: Probed | Update | Evaluated, value: float) -> Reply | None:
    match reply:
        case Evaluated():
            return replace(reply, loss_sum=value)
        case Probed():
            return _with_last(reply, lambda t: replace(t, grad_sq=value))
        case Update():
            return _with_delta(reply, lambda delta: _set_last(delta, value))


def _set_last(delta: Tensor, value: float) -> Tensor:
    found = delta.clone(memory_format=torch.contiguous_format)
    found.view(-1)[-1] = value
    return found


def _misshapen(reply: Probed | Update | Evaluated) -> Reply | None:
    match reply:
        case Evaluated():
            return replace(reply, correct=reply.num_examples + 1)
        case Probed():
            return replace(reply, stats=reply.stats[:-1]) if reply.stats else None
        case Update():
            return _with_delta(reply, lambda delta: torch.cat([delta.flatten(), delta.new_zeros(1)]))


def _renamed(reply: Probed | Update | Evaluated) -> Update | None:
    if not isinstance(reply, Update) or not reply.deltas:
        return None
    *others, (name, delta) = reply.deltas.items()
    return replace(reply, deltas=dict(others) | {TensorName(f"{name}.x"): delta})


def _of_more_rows(reply: Probed | Update | Evaluated, factor: float) -> Reply:
    if isinstance(reply, Probed):
        return replace(reply, stats=tuple(replace(s, num_examples=int(s.num_examples * factor)) for s in reply.stats))
    return replace(reply, num_examples=int(reply.num_examples * factor))


def _louder(reply: Probed | Update | Evaluated, factor: float) -> Probed | Update | None:
    """Return larger statistics, also those piggybacked on an update."""
    if isinstance(reply, Probed):
        return _loud(reply, factor)
    if isinstance(reply, Update) and reply.piggybacked is not None:
        return replace(reply, piggybacked=_loud(reply.piggybacked, factor))
    return None


def _loud(reply: Probed, factor: float) -> Probed:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    def loud(t: TensorStats) -> TensorStats:
        return replace(t, grad_sq=t.grad_sq * factor, half_dot=times(t.half_dot), snr_sum=times(t.snr_sum))

    def told(s: LayerStats) -> LayerStats:
        sketch = None if s.sketch is None else tuple(value * sqrt(factor) for value in s.sketch)
        return replace(s, tensors=tuple(map(loud, s.tensors)), sketch=sketch)

    return replace(reply, stats=tuple(map(told, reply.stats)))


def _with_last(reply: Probed, change: Callable[[TensorStats], TensorStats]) -> Probed | None:
    """Change the statistics of the last tensor."""
    if not reply.stats or not reply.stats[-1].tensors:
        return None
    *layers, last = reply.stats
    *tensors, odd = last.tensors
    return replace(reply, stats=(*layers, replace(last, tensors=(*tensors, change(odd)))))


def _with_delta(reply: Update, change: Callable[[Tensor], Tensor]) -> Update | None:
    """Change the last delta that has a value."""
    deltas: Mapping[TensorName, Tensor] = reply.deltas
    names = [name for name, delta in deltas.items() if delta.numel()]
    return replace(reply, deltas={**deltas, names[-1]: change(deltas[names[-1]])}) if names else None
