"""Outputs of the frozen prefix, computed once per row and used again while no weight of the prefix changes.

Rows of a client's training are computed in fixed blocks: its rows in order of length, so many at a time. So a row's
value never depends on the batch that asks for it, nor on what was kept: a block that is not at hand is computed again,
to the same bits. Evaluation goes through the same passes each time, so there the value of a whole pass is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import ceil, prod

import psutil
import torch
from torch import Tensor, nn

from fedstrata.client.prefix_finder import PrefixFinder, assembled, size_of
from fedstrata.client.prefix_store import PrefixStore
from fedstrata.client.resident import ResidentModel
from fedstrata.client.seen import Seen
from fedstrata.data.tensors import ATTENTION, TensorRows
from fedstrata.domain.ids import TensorName
from fedstrata.domain.prefix_use import PrefixState, PrefixUse
from fedstrata.domain.training import Dropout, Held
from fedstrata.models.prefix import Output, Prefix
from fedstrata.models.shortcut import Keeping, skipped, up_to
from fedstrata.wire.messages import Weights

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TOKENS = 256
"""Tokens that a block of rows has about: fewer leave kernels waiting, more compute rows that nobody asked for."""
_MOST_ROWS = 16
_SHARE = 4
"""By default the cache may take one part in so many of the memory that is free when it is made."""


def usual_memory(workers: int = 1) -> int:
    """Return the bytes that each of some processes may keep by default."""
    return int(psutil.virtual_memory().available) // (_SHARE * workers)


def _fitting(memory: int, device: torch.device) -> int:
    """Return no more bytes than a GPU may spare."""
    return min(memory, torch.cuda.mem_get_info(device)[0] // _SHARE) if device.type == "cuda" else memory


class PrefixCache:
    """What one process keeps.

    Args:
        model: The resident model.
        memory: Bytes, at most; by default a share of what is free.
        evaluates: Whether passes of evaluations are kept before training or a probe asked for anything to be kept.
    """

    def __init__(self, model: ResidentModel, memory: int | None = None, *, evaluates: bool = True) -> None:
        self.model = model
        self.evaluates = evaluates
        self.store = PrefixStore(_fitting(usual_memory() if memory is None else memory, model.device))
        self._finder = PrefixFinder(model)
        self._versions: dict[object, Seen] = {}
        self._evaluated: Seen | None = None
        self._changed: frozenset[TensorName] | None = None
        self._rows: dict[int, TensorRows] = {}

    def visit(
        self,
        weights: Weights,
        trained: Mapping[TensorName, nn.Parameter],
        *,
        rows: TensorRows,
        indices: Tensor,
        held: Held = "fp32",
        autocast: torch.dtype | None = None,
        dropout: Dropout | None = None,
    ) -> PrefixVisit | PrefixState:
        """Return how one client's rows go through the model, or why they go through all of it.

        Args:
            weights: Those that are mounted.
            trained: What requires gradients now.
            rows: All rows at hand.
            indices: The client's training rows.
            held: How values are kept.
            autocast: The type that products are made in.
            dropout: Where dropout is on; ``None`` for nowhere.
        """
        self.evaluates = True
        prefix = self._finder.find(rows, list(trained.values()), dropout=dropout)
        if isinstance(prefix, PrefixState):
            return prefix
        group = ("rows", prefix.after, len(prefix.calls), autocast, held)
        self._renew(group, prefix, weights)
        return PrefixVisit(self, prefix, rows, _blocks(rows, indices, prefix.outputs), group, held, autocast)

    def settled(self, rows: TensorRows, trained: Mapping[TensorName, nn.Parameter]) -> frozenset[nn.Module]:
        """Return the modules that run below what is trained alone.

        Raises:
            ClientError: That cannot be told.
        """
        return self._finder.ended(rows, list(trained.values()))

    def judged(self, weights: Weights, rows: TensorRows, batch: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Return the logits of a pass of an evaluation, to the bits of the whole model, which is in evaluation mode.

        What was computed below the lowest layer that the last training changed is kept for the next evaluation.

        Args:
            weights: Those that are mounted.
            rows: Where the batch is from.
            batch: The rows of the pass.
            inputs: They, as the model takes them.
        """
        if not self.evaluates:
            return self.model.logits(inputs)
        self._note(weights)
        if not self._changed:
            return self.model.logits(inputs)
        parameters = dict(self.model.module.named_parameters())
        prefix = self._finder.find(rows, [parameters[name] for name in sorted(self._changed)], dropout=None)
        if isinstance(prefix, PrefixState):
            return self.model.logits(inputs)
        group = ("passes", prefix.after, len(prefix.calls))
        self._renew(group, prefix, weights)
        unit = self.unit(rows, batch)
        values = self.store.get(group, unit)
        if values is None:
            keeping = Keeping(prefix)
            logits = self.model.logits(inputs, keeping.on())
            self.store.put(group, unit, keeping.values())
            return logits
        count, tokens = size_of(inputs)
        values = tuple(value.clone() for value in values)  # what comes after may work in place
        return self.model.logits(inputs, skipped(prefix, values, rows=count, tokens=tokens))

    def unit(self, rows: TensorRows, batch: Tensor) -> object:
        """Return what names some rows."""
        self._rows[id(rows)] = rows  # or another object could have its id one day
        return id(rows), batch.numpy().tobytes()

    def _note(self, weights: Weights) -> None:
        """Find out which tensors the training between two evaluations changed: those are other objects."""
        if self._evaluated is None:
            self._evaluated = Seen(weights)
        elif changed := self._evaluated.changed(weights):
            self._changed, self._evaluated = changed, Seen(weights)

    def _renew(self, group: object, prefix: Prefix, weights: Weights) -> None:
        """Forget what was computed with other weights. Tensors never change in place, so an object is a value."""
        now = {TensorName(name): weights[TensorName(name)] for name in prefix.names if name in weights}
        if group not in self._versions or not self._versions[group].again(now):
            self.store.drop(group)
            self._versions[group] = Seen(now)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixVisit:
    """One client's rows, for as long as the weights of the prefix are mounted."""

    cache: PrefixCache
    prefix: Prefix
    rows: TensorRows
    blocks: tuple[Tensor, ...]
    group: object
    held: Held
    autocast: torch.dtype | None
    use: PrefixUse = field(default_factory=lambda: PrefixUse(PrefixState.CACHED))
    _places: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note where each row is."""
        for number, block in enumerate(self.blocks):
            self._places.update({row: (number, place) for place, row in enumerate(block.tolist())})

    def over(self, batch: Tensor, inputs: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Return what the model is run in on a batch of the client's rows.

        Args:
            batch: The rows.
            inputs: They, as the model takes them.
        """
        places = [self._places[row] for row in batch.tolist()]
        found = {number: self._block(number, places) for number in dict.fromkeys(number for number, _ in places)}
        rows, tokens = size_of(inputs)
        values = [
            assembled([(found[number][slot], place) for number, place in places], rows, tokens, output.by_token)
            for slot, output in enumerate(self.prefix.outputs)
        ]
        self.use.bytes = self.cache.store.bytes
        if self.held in _TYPES:
            values = [value.to(output.dtype) for value, output in zip(values, self.prefix.outputs, strict=True)]
        return skipped(self.prefix, values, rows=rows, tokens=tokens)

    def _block(self, number: int, places: Sequence[tuple[int, int]]) -> tuple[Tensor, ...]:
        """Return the values of a block, computed if they are not at hand."""
        block = self.blocks[number]
        unit = self.cache.unit(self.rows, block)
        values = self.cache.store.get(self.group, unit)
        if values is not None:
            self.use.read += sum(found == number for found, _ in places)
            return values
        self.use.computed += len(block)
        values = tuple(self._kept(value) for value in self._computed(block))
        self.cache.store.put(self.group, unit, values)
        return values

    def _computed(self, block: Tensor) -> tuple[Tensor, ...]:
        """Return what the prefix gives for a block of rows, in evaluation mode."""
        model = self.cache.model
        inputs = {name: tensor.to(model.device) for name, tensor in self.rows.take(block)[0].items()}
        product = torch.autocast(model.device.type, dtype=self.autocast, enabled=self.autocast is not None)
        with torch.no_grad(), model.evaluating(), product:
            return up_to(self.prefix, lambda: model.logits(inputs))

    def _kept(self, value: Tensor) -> Tensor:
        """Return a value as it is kept."""
        return value.to(_TYPES[self.held]) if self.held in _TYPES and value.is_floating_point() else value


def _blocks(rows: TensorRows, indices: Tensor, outputs: Sequence[Output]) -> tuple[Tensor, ...]:
    """Return a client's rows in the blocks that they are computed in: texts of like length side by side.

    Args:
        rows: All rows at hand.
        indices: The client's.
        outputs: What is kept of each row.
    """
    if ATTENTION in rows.inputs:
        tokens = int(rows.inputs[ATTENTION][indices].sum(dim=1).max())
    else:
        tokens = max((_places_of(output.shape or ()) for output in outputs), default=1)
    return tuple(rows.by_length(indices).split(min(max(ceil(_TOKENS / max(tokens, 1)), 1), _MOST_ROWS)))


def _places_of(shape: tuple[int, ...]) -> int:
    """Return at how many places a row has features: tokens ``[rows, tokens, features]``, or ``[rows, channels, h, w]``.

    Example:
        >>> _places_of((8, 65, 96)), _places_of((8, 64, 7, 7)), _places_of((8, 64))
        (65, 49, 1)
    """
    return prod(shape[1:-1]) if len(shape) == 3 else prod(shape[2:])
