"""Which part of the resident model may be left out: found once per lowest trained block, and tried before use."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import ATTENTION, TensorRows
from fedstrata.domain.prefix_use import PrefixState
from fedstrata.domain.training import Dropout
from fedstrata.errors import ClientError, ModelError
from fedstrata.models.prefix import Batch, Order, Prefix, prefix_at, random_state, record_order
from fedstrata.models.shortcut import skipped, up_to

log = logging.getLogger(__name__)

_ROUNDING = 1e-4
"""How far logits may be apart, relative to the largest; with a base in bfloat16, ``_COARSE``."""
_COARSE = 0.05


class PrefixFinder:
    """Finds the prefix of one model, and remembers what it found.

    Args:
        model: The resident model; left as it was found.
    """

    def __init__(self, model: ResidentModel) -> None:
        self._model = model
        self._known: Order | None = None
        self._recorded = False
        self._tried: dict[int, Prefix | PrefixState] = {}
        self._draws: dict[tuple[int, Dropout], bool] = {}

    def find(
        self, rows: TensorRows, trained: Sequence[nn.Parameter], *, dropout: Dropout | None
    ) -> Prefix | PrefixState:
        """Return the prefix below some parameters, or why there is none.

        Args:
            rows: All rows at hand; a few are run through the model.
            trained: What is trained; of it and of nothing else the prefix's outputs must not depend.
            dropout: Where dropout is on; ``None`` for nowhere.
        """
        order = self._order(rows)
        number = None if order is None else order.boundary(trained)
        if order is None or number is None:
            return PrefixState.MODEL
        if not any(call.module in order.blocks for call in order.calls[:number]):
            return PrefixState.NO_BLOCK
        if number not in self._tried:
            self._tried[number] = self._try(order, number, rows)
        found = self._tried[number]
        if isinstance(found, Prefix) and dropout is not None:
            if (number, dropout) not in self._draws:
                self._draws[number, dropout] = self._draw(found, rows, dropout)
            return PrefixState.DROPOUT if self._draws[number, dropout] else found
        return found

    def ended(self, rows: TensorRows, trained: Sequence[nn.Parameter]) -> frozenset[nn.Module]:
        """Return the modules that run below some parameters alone.

        Raises:
            ClientError: That cannot be told.
        """
        order = self._order(rows)
        number = None if order is None else order.boundary(trained)
        if order is None or number is None:
            raise ClientError("what runs below the lowest trained layer cannot be told; set train.dropout: all")
        return order.ended[number]

    def _order(self, rows: TensorRows) -> Order | None:
        """Return the calls of the model, written down when they are first asked for."""
        if not self._recorded:
            short, long, _ = _samples(rows)
            with torch.no_grad(), self._model.evaluating():
                batches = (self._batch(rows, short), self._batch(rows, long))
                self._known = record_order(self._model.module, self._model.layers, batches)
            self._recorded = True
            if self._known is None:
                log.warning("the frozen prefix is recomputed: the model's blocks run in another order for other rows")
        return self._known

    def _batch(self, rows: TensorRows, batch: Tensor) -> Batch:
        inputs = self._inputs(rows, batch)
        return Batch(*size_of(inputs), lambda: self._model.logits(inputs))

    def _draw(self, prefix: Prefix, rows: TensorRows, dropout: Dropout) -> bool:
        """Return whether the prefix draws random numbers in training, by letting it."""
        model, inputs = self._model, self._inputs(rows, _samples(rows)[1])
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices), model.evaluating():
            model.set_training()
            if dropout == "trained":
                settle(prefix.ended)
            before = random_state(model.module)
            try:
                up_to(prefix, lambda: model.logits(inputs))
            except ModelError:  # layers that are left out at random
                return True
            return random_state(model.module) != before

    def _try(self, order: Order, number: int, rows: TensorRows) -> Prefix | PrefixState:
        """Return the prefix that gives the logits of the whole model, keeping as little as that needs."""
        why = ""
        for every in (False, True):
            prefix = prefix_at(self._model.module, order, number, every=every)
            skips = [call for n, call in enumerate(prefix.calls) if n not in prefix.real]
            if not any(call.module in order.blocks for call in skips):
                why = "what its blocks return is not one value per row"
                continue
            try:
                off = self._distance(prefix, rows)
            except Exception as error:  # the model's own code meets values of no use
                why = f"{type(error).__name__}: {error}"
                continue
            if off <= 1:
                return prefix
            why = "its own code needs more of them than their outputs"
        log.warning("the frozen prefix is recomputed: the model does not run without its first blocks (%s)", why)
        return PrefixState.MODEL

    def _distance(self, prefix: Prefix, rows: TensorRows) -> float:
        """Return how far the logits of a few rows are from those of the whole model, in units of what is allowed."""
        short, long, both = _samples(rows)
        model = self._model
        with torch.no_grad(), model.evaluating():
            inputs = self._inputs(rows, both)
            whole = model.logits(inputs).float()
            parts = []
            for batch in (short, long):
                with _requiring(model.module, but=prefix.names), torch.enable_grad():
                    values = up_to(prefix, partial(model.logits, self._inputs(rows, batch)))
                if any(value.requires_grad for value in values):
                    return float("inf")
                parts.append(values)
            count, tokens = size_of(inputs)
            whole_batch = [
                assembled(
                    [(value, place) for value in pair for place in range(len(value))], count, tokens, out.by_token
                )
                for out, pair in zip(prefix.outputs, zip(*parts, strict=True), strict=True)
            ]
            found = model.logits(inputs, skipped(prefix, whole_batch, rows=count, tokens=tokens)).float()
        coarse = any(p.dtype is torch.bfloat16 for p in model.module.parameters())
        allowed = (_COARSE if coarse else _ROUNDING) * float(whole.abs().max())
        off = float((found - whole).abs().max())
        return off / max(allowed, 1e-30) if off == off else float("inf")

    def _inputs(self, rows: TensorRows, batch: Tensor) -> dict[str, Tensor]:
        return {name: tensor.to(self._model.device) for name, tensor in rows.take(batch)[0].items()}


@contextmanager
def _requiring(module: nn.Module, *, but: Container[str]) -> Iterator[None]:
    """Have all parameters but some require gradients: what is made of them shows."""
    others = {p: p.requires_grad for name, p in module.named_parameters() if name not in but and p.is_floating_point()}
    try:
        for parameter in others:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, before in others.items():
            parameter.requires_grad_(before)


def settle(modules: Iterable[nn.Module]) -> None:
    """Switch dropout off in some modules, one by one."""
    for module in modules:
        module.training = False


def size_of(inputs: Mapping[str, Tensor]) -> tuple[int, int | None]:
    """Return the rows of a batch and, of texts, the tokens of each."""
    first = inputs.get(ATTENTION)
    if first is None:
        return len(next(iter(inputs.values()))), None
    return first.shape[0], first.shape[1]


def assembled(pieces: Sequence[tuple[Tensor, int]], rows: int, tokens: int | None, by_token: bool) -> Tensor:  # noqa: FBT001
    """Return single rows of some tensors as one batch, cut or filled up with zeros to its number of tokens.

    Args:
        pieces: Tensors, and which of their rows.
        rows: How many pieces there are.
        tokens: Length of the second dimension, if it is the tokens.
        by_token: Whether it is.

    Example:
        >>> assembled([(torch.ones(1, 2), 0), (torch.ones(1, 1), 0)], 2, 3, True).tolist()
        [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if not by_token or tokens is None:
        return torch.stack([tensor[place] for tensor, place in pieces])
    one = pieces[0][0]
    out = one.new_zeros((rows, tokens, *one.shape[2:]))
    for row, (tensor, place) in enumerate(pieces):
        length = min(tokens, tensor.shape[1])
        out[row, :length] = tensor[place, :length]
    return out


def _samples(rows: TensorRows) -> tuple[Tensor, Tensor, Tensor]:
    """Return two of the shortest rows, three of the longest, and all of them."""
    ordered = rows.by_length(torch.arange(len(rows)))
    short, long = ordered[torch.arange(2) % len(rows)], ordered[-1 - torch.arange(3) % len(rows)]
    return short, long, torch.cat([short, long])
