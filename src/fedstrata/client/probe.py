"""The probe: statistics of per-row loss gradients at the round's weights, one backward pass per mini-batch.

The loss is summed, not averaged, over a mini-batch, so gradients of mini-batches add up and every statistic depends
on the rows alone, not on how they were batched (the released code of arXiv 2408.15600 scores a cumulative sum).
Gradients are reduced in a hook as they appear; what later mini-batches need is kept, everything else is freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from fedstrata.client.prefix_cache import PrefixVisit
from fedstrata.client.resident import ResidentModel
from fedstrata.client.sketching import Sketches
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import TensorName
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Weights

Sink = Callable[[TensorName, Tensor], None]
PrefixOf = Callable[[Mapping[TensorName, nn.Parameter]], PrefixVisit | None]
"""Given what requires gradients, gives a client's rows below it."""
Entries = dict[TensorName, dict[str, Tensor]]

_FLOOR = 1e-6
"""Variance floor of the signal-to-noise ratio, relative to the tensor's mean variance (keeps it scale-free)."""
_TINY = 1e-30


def probe(
    model: ResidentModel,
    weights: Weights,
    *,
    rows: TensorRows,
    indices: Tensor,
    batch_size: int,
    statistics: frozenset[Statistic],
    sketch: Hashing | None = None,
    prefix: PrefixOf | None = None,
) -> tuple[tuple[LayerStats, ...], float]:
    """Measure gradient statistics of every selectable layer over the given rows.

    Args:
        model: The resident model; left as it was found, with no gradient behind.
        weights: Global weights.
        rows: All rows at hand.
        indices: The rows to probe, in drawn order; its two halves are the half-batches of ``HALVES``.
        batch_size: Rows per backward pass; does not change the result.
        statistics: What to measure.
        sketch: Which sketch of each layer's mean gradient to take besides.
        prefix: Gives what is kept of the layers below the selectable ones.

    Returns:
        Statistics per layer, input to output, and the mean loss.

    Raises:
        ClientError: Fewer than two rows where two are needed, or a loss that is not finite.
    """
    needed = 1 if statistics <= {Statistic.NORM} else 2
    if len(indices) < needed:
        raise ClientError(f"the probe needs at least {needed} rows and got {len(indices)}")
    model.set_evaluation()
    measured: Entries = {}
    sketches = Sketches(sketch)
    with model.probing(weights) as parameters:
        passes = Passes(
            model, parameters, rows=rows, batch_size=batch_size, visit=prefix(parameters) if prefix else None
        )
        if Statistic.HALVES in statistics:
            loss = _halves(passes, indices, measured, sketches)
        elif statistics <= {Statistic.NORM}:
            loss = _norm(passes, indices, measured, sketches)
        if Statistic.SAMPLES in statistics:
            loss = _samples(passes, indices, measured, sketches)
    found = zip(model.layers, _layer_stats(model, parameters, measured, len(indices)), strict=True)
    return tuple(replace(stats, sketch=sketches.of(layer)) for layer, stats in found), loss


class Passes:
    """Backward passes of the summed loss that hand each gradient to a sink and free it."""

    def __init__(
        self,
        model: ResidentModel,
        parameters: Mapping[TensorName, nn.Parameter],
        *,
        rows: TensorRows,
        batch_size: int,
        visit: PrefixVisit | None = None,
    ) -> None:
        self.visit = visit
        self.model, self.parameters, self.rows, self.batch_size = model, parameters, rows, batch_size

    def backward(self, indices: Tensor, sink: Sink) -> float:
        """Back-propagate the summed loss of one mini-batch; return it."""
        inputs, labels = self.rows.take(indices)
        device = self.model.device
        inputs = {k: v.to(device) for k, v in inputs.items()}
        logits = self.model.logits(inputs, self.visit.over(indices, inputs) if self.visit else None)
        loss = self.model.objective.loss(logits, inputs, labels.to(device), reduction="sum")
        if not torch.isfinite(loss):
            raise ClientError("the probe's loss is not finite; the model has diverged", reason="NONFINITE")
        with self._hooked(sink):
            torch.autograd.backward(loss, inputs=list(self.parameters.values()))
        return float(loss.detach())

    def each(self, indices: Tensor, sink: Sink, *, last: Sink) -> float:
        """Go through the rows in mini-batches; the last one's gradients go to ``last``."""
        chunks = indices.split(self.batch_size)
        total = 0.0
        for number, chunk in enumerate(chunks, start=1):
            total += self.backward(chunk, last if number == len(chunks) else sink)
        return total

    @contextmanager
    def _hooked(self, sink: Sink) -> Iterator[None]:
        def hook_for(name: TensorName) -> Callable[[Tensor], None]:
            def hook(parameter: Tensor) -> None:
                gradient = parameter.grad
                parameter.grad = None
                if gradient is not None:
                    sink(name, gradient)

            return hook

        handles = [p.register_post_accumulate_grad_hook(hook_for(n)) for n, p in self.parameters.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _norm(passes: Passes, indices: Tensor, out: Entries, sketches: Sketches) -> float:
    n = len(indices)
    sums: dict[TensorName, Tensor] = {}

    def reduce(name: TensorName, gradient: Tensor) -> None:
        total = _add(sums.pop(name, None), gradient)
        out.setdefault(name, {})["grad_sq"] = _square(total) / n**2
        sketches.take(name, total, n)

    return passes.each(indices, adder(sums), last=reduce) / n


def _halves(passes: Passes, indices: Tensor, out: Entries, sketches: Sketches) -> float:
    n = len(indices)
    first, second = indices[: n // 2], indices[n // 2 :]
    kept: dict[TensorName, Tensor] = {}
    sums: dict[TensorName, Tensor] = {}
    loss = passes.each(first, adder(kept), last=adder(kept))

    def reduce(name: TensorName, gradient: Tensor) -> None:
        b = _add(sums.pop(name, None), gradient)
        a = kept.pop(name)
        dot = torch.dot(a.flatten().double(), b.flatten().double())
        out.setdefault(name, {})["half_dot"] = dot / (len(first) * len(second))
        out[name]["grad_sq"] = (_square(a) + 2 * dot + _square(b)) / n**2
        sketches.take(name, a.add_(b), n)

    return (loss + passes.each(second, adder(sums), last=reduce)) / n


def _samples(passes: Passes, indices: Tensor, out: Entries, sketches: Sketches) -> float:
    """Welford's running mean and sum of squared deviations over single rows, in the memory of each row's gradient."""
    n = len(indices)
    mean: dict[TensorName, Tensor] = {}
    spread: dict[TensorName, Tensor] = {}
    loss = 0.0
    for count, index in enumerate(indices.split(1), start=1):

        def fold(name: TensorName, gradient: Tensor, count: int = count) -> None:
            if name not in mean:
                mean[name], spread[name] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            off = gradient.sub_(mean[name])  # from the mean before this row; from the one after, off * (1 - 1 / count)
            mean[name].add_(off, alpha=1 / count)
            spread[name].addcmul_(off, off, value=1 - 1 / count)

        loss += passes.backward(index, fold)
    for name in mean:
        m, v = mean[name].double(), spread[name].double() / n
        floor = max(_FLOOR * float(v.mean()), _TINY)
        entry = out.setdefault(name, {})
        entry["snr_sum"] = (m.square() / (v + floor)).sum()
        entry["noise_sum"] = (v / (v + floor)).sum()
        entry.setdefault("grad_sq", m.square().sum())
        sketches.take(name, mean[name], 1)
    return loss / n


def _layer_stats(
    model: ResidentModel,
    weights: Mapping[TensorName, Tensor],
    measured: Mapping[TensorName, Mapping[str, Tensor]],
    rows: int,
) -> Iterator[LayerStats]:
    asked = {key for entry in measured.values() for key in entry}

    def value(name: TensorName, key: str) -> float | None:
        if key not in asked:
            return None
        entry = measured.get(name, {})
        return float(entry[key]) if key in entry else 0.0

    for layer in model.layers:
        yield LayerStats(
            tensors=tuple(
                TensorStats(
                    elements=spec.elements,
                    weight_sq=float(_square(weights[spec.name])),
                    grad_sq=value(spec.name, "grad_sq") or 0.0,
                    half_dot=value(spec.name, "half_dot"),
                    snr_sum=value(spec.name, "snr_sum"),
                    noise_sum=value(spec.name, "noise_sum"),
                )
                for spec in layer.tensors
            ),
            num_examples=rows,
        )


def adder(sums: dict[TensorName, Tensor]) -> Sink:
    """Return a sink that sums the gradients of each tensor."""

    def add(name: TensorName, gradient: Tensor) -> None:
        sums[name] = _add(sums.get(name), gradient)

    return add


def _add(total: Tensor | None, gradient: Tensor) -> Tensor:
    return gradient if total is None else total.add_(gradient)


def _square(tensor: Tensor) -> Tensor:
    """Return the squared Euclidean norm, accumulated in float64 (float16 norms overflow at 65,504)."""
    norm: Tensor = torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)
    return norm.square()
