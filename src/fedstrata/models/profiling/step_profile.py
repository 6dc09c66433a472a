"""Puts the measurements of single calls together: the rows of a step's profile, by lowest trained layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import ALWAYS, NEVER, StepProfile
from fedstrata.models.profiling.interblock import Between
from fedstrata.models.profiling.recording import Call, Reach, Recording
from fedstrata.models.profiling.replay import Replay, replay
from fedstrata.models.profiling.tracker import ALIVE_ANYWAY, Serial

BETWEEN = LayerName("(between blocks)")
"""The pseudo-block of what a model does outside its blocks, the loss included; it runs last."""

Needs = tuple[bool, ...]


def reach_of(layers: LayerMap, lowest: int) -> Reach:
    """Return the blocks that may be trained when ``lowest`` is the lowest layer: it, all above, and ``always``.

    Example:
        >>> from fedstrata.domain.layers import Layer, Role
        >>> layers = LayerMap(tuple(Layer(LayerName(str(i)), Role.LAYER, ()) for i in range(3)))
        >>> bin(reach_of(layers, 2)), bin(reach_of(layers, 3))
        ('0b1100', '0b1000')
    """
    return (1 << len(layers) + 1) - (1 << lowest)


class Meter:
    """Measures calls, each distinct one once.

    Args:
        model: The fake model.
        layers: Its blocks.
        recording: Its calls.
    """

    def __init__(self, model: nn.Module, layers: LayerMap, recording: Recording) -> None:
        self.layers, self.recording = layers, recording
        blocks = (*layers.never, *layers.layers, *layers.always)
        self.names = tuple(block.name for block in blocks)
        self.kinds = (NEVER,) * len(layers.never) + tuple(range(len(layers))) + (ALWAYS,) * len(layers.always)
        named = dict(model.named_parameters())
        self._parameters = [[named[t.name] for t in block.tensors] for block in blocks]
        self._known: dict[object, Replay] = {}
        self.cases: dict[int, set[Needs]] = {}
        for call in recording.calls:
            for lowest in range(len(layers) + 1):
                needs = self.needs(call, lowest)
                if any(needs):
                    self.cases.setdefault(call.signature, set()).add(needs)

    def needs(self, call: Call, lowest: int) -> Needs:
        """Return which inputs of a call need a gradient."""
        trained = reach_of(self.layers, lowest)
        return tuple(bool(reach & trained) for reach in call.reach)

    def run(self, call: Call, needs: Needs, *, trained: bool) -> Replay:
        """Return what a call costs."""
        key = (call.signature, needs, call.used, trained)
        if key not in self._known:
            self._known[key] = replay(call, self.own(call), needs, trained=trained)
        return self._known[key]

    def own(self, call: Call) -> list[nn.Parameter]:
        """Return the parameters of a call's block that its module holds."""
        held = {id(p) for p in call.module.parameters()}
        return [p for p in self._parameters[call.block] if id(p) in held]

    def base(self, call: Call, lowest: int) -> Replay:
        """Return what a call costs when its block is trained only if it is ``lowest`` or ``always``."""
        kind = self.kinds[call.block]
        return self.run(call, self.needs(call, lowest), trained=kind in (lowest, ALWAYS) and bool(self.own(call)))

    def weight(self, call: Call) -> int:
        """Return the operations that training a call's block adds to a backward pass that goes through it."""
        kind = self.kinds[call.block]
        if kind == NEVER or not self.own(call):
            return 0
        rows = range(len(self.layers) + 1 if kind == ALWAYS else kind)
        cases = {needs for needs in (self.needs(call, lowest) for lowest in rows) if any(needs)}
        cases = cases or self.cases.get(call.signature, set())
        if not cases:
            return self.run(call, (False,) * len(call.reach), trained=True).backward
        both = [(self.run(call, case, trained=True), self.run(call, case, trained=False)) for case in cases]
        return max(trained.backward - frozen.backward for trained, frozen in both)

    def kept(self, call: Call, measured: Replay) -> frozenset[Serial]:
        """Return the recording's storages that a call keeps."""
        leaves = [*(call.inputs[i] for i in measured.inputs), *(call.outputs[i] for i in measured.outputs)]
        return frozenset(leaf.serial for leaf in leaves) - {ALIVE_ANYWAY}

    def bytes(self, serials: Iterable[Serial]) -> int:
        """Return the size of storages together."""
        return sum(self.recording.sizes[serial] for serial in serials)


@dataclass(slots=True)
class _Row:
    """One row of a profile, by column."""

    carry: list[int]
    saved: list[int]
    forward_peak: list[int]
    backward_peak: list[int]
    users: Counter[Serial] = field(default_factory=Counter)


def profile_of(meter: Meter, outside: Sequence[Between], batch: Mapping[str, Tensor]) -> StepProfile:
    """Return the profile of a step.

    Args:
        meter: Measures calls.
        outside: What happens between blocks, per row.
        batch: The batch that the recording was made with.
    """
    calls = meter.recording.calls
    columns = {block: i for i, block in enumerate(dict.fromkeys(call.block for call in calls))}
    width = len(columns) + 1
    forward, weight = [0] * width, [0] * width
    for call in calls:
        forward[columns[call.block]] += meter.base(call, len(meter.layers)).forward
        weight[columns[call.block]] += meter.weight(call)
    forward[-1] = outside[-1].forward
    rows = [_row(meter, between, lowest, columns, weight) for lowest, between in enumerate(outside)]
    main = next(iter(batch.values()))
    table = {
        name: np.array([getattr(row, name) for row in rows], dtype=np.int64)
        for name in ("carry", "saved", "forward_peak", "backward_peak")
    }
    return StepProfile(
        rows=len(main),
        length=main.shape[1] if not main.is_floating_point() and main.dim() == 2 else None,
        layers=len(meter.layers),
        blocks=(*(meter.names[block] for block in columns), BETWEEN),
        layer=(*(meter.kinds[block] for block in columns), NEVER),
        forward=np.array(forward, dtype=np.int64),
        weight=np.array(weight, dtype=np.int64),
        saved_extra=np.array(_extra(meter, rows, columns), dtype=np.int64),
        batch_bytes=sum(t.untyped_storage().nbytes() for t in batch.values()),
        **table,
    )


def _row(meter: Meter, between: Between, lowest: int, columns: Mapping[int, int], weight: Sequence[int]) -> _Row:
    """Return the row of the masks whose lowest layer is ``lowest``."""
    width = len(columns) + 1
    row = _Row([0] * width, [0] * width, [0] * width, [0] * width)
    seen: set[Serial] = set()
    inner = 0
    events: list[tuple[int, int]] = []
    for call in meter.recording.calls:
        column, found = columns[call.block], meter.base(call, lowest)
        kept = meter.kept(call, found)
        most = max(meter.bytes(call.since | seen), meter.bytes(call.entry | seen) + found.forward_peak)
        events.append((column, inner + most))
        row.users.update(kept)
        row.carry[column] += found.backward
        row.saved[column] += found.own + meter.bytes(kept - seen)
        row.backward_peak[column] = max(row.backward_peak[column], _passing(meter, call, lowest))
        seen |= kept
        inner += found.own
    events.append((width - 1, meter.bytes(meter.recording.exit | seen) + inner + between.forward_peak))
    row.carry[-1] = between.backward
    row.saved[-1] = between.own + meter.bytes(between.kept - seen)
    row.backward_peak[-1] = between.backward_peak
    row.users.update(between.kept)
    for block, column in columns.items():
        if meter.kinds[block] in (lowest, ALWAYS):
            row.carry[column] = max(0, row.carry[column] - weight[column])
    held = np.cumsum(row.saved)
    for column, total in events:
        row.forward_peak[column] = max(row.forward_peak[column], total - int(held[column]))
    return row


def _passing(meter: Meter, call: Call, lowest: int) -> int:
    """Return the bytes that live only while a call runs backward, without what it kept and its weight gradients."""
    kind, needs = meter.kinds[call.block], meter.needs(call, lowest)
    own = meter.own(call)
    ways = {kind in (lowest, ALWAYS) and bool(own)} | ({True} if kind > lowest and own else set())
    found = 0
    for trained in ways:
        measured = meter.run(call, needs, trained=trained)
        known = measured.own + meter.bytes(meter.kept(call, measured))
        known += sum(p.nbytes for p in own) if trained else 0
        found = max(found, measured.backward_peak - known)
    return found


def _extra(meter: Meter, rows: Sequence[_Row], columns: Mapping[int, int]) -> list[int]:
    """Return what each layer keeps in addition when it is trained and not the lowest: the most over all rows."""
    extra = [[0] * len(rows) for _ in range(len(columns) + 1)]
    for call in meter.recording.calls:
        kind = meter.kinds[call.block]
        for lowest in range(max(kind, 0) if meter.own(call) else 0):
            needs = meter.needs(call, lowest)
            trained, frozen = meter.run(call, needs, trained=True), meter.run(call, needs, trained=False)
            others = rows[lowest].users.copy()
            others.subtract(meter.kept(call, frozen))
            new = {s for s in meter.kept(call, trained) if others[s] <= 0}
            old = {s for s in meter.kept(call, frozen) if others[s] <= 0}
            extra[columns[call.block]][lowest] += trained.own - frozen.own + meter.bytes(new) - meter.bytes(old)
    return [max(values) for values in extra]
