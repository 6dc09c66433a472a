"""Local training: tau steps or epochs on the masked layers and ``always``, in one loop around every trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn

from fedstrata.client.batching import local_steps, passes_of_groups
from fedstrata.client.prefix_cache import PrefixCache, PrefixVisit
from fedstrata.client.prefix_finder import settle
from fedstrata.client.resident import ResidentModel
from fedstrata.client.state_store import kept_apart
from fedstrata.data.tensors import TensorRows
from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Mask
from fedstrata.domain.prefix_use import PrefixState, PrefixUse
from fedstrata.errors import ClientError, ConfigError
from fedstrata.trainers.protocol import ClientState, Inputs, Trainer
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.measures import difference, measure
from fedstrata.wire.messages import TrainPlan, Weights


@dataclass(frozen=True, slots=True)
class LocalResult:
    """What local training produced.

    Attributes:
        deltas: ``local - global`` per trained tensor, float32.
        steps: Optimizer steps.
        loss_first: Loss of the first batch, before its step.
        loss_mean: Mean over the steps.
        state: What the client keeps of the tensors that it trained.
        prefix: How it came by the outputs of the frozen prefix.
    """

    deltas: Weights
    steps: int
    loss_first: float
    loss_mean: float
    state: ClientState
    prefix: PrefixUse = field(default_factory=PrefixUse)


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What is known of the part of the model below the lowest trained layer."""

    visit: PrefixVisit | None
    use: PrefixUse
    settled: frozenset[nn.Module] = frozenset()


def train(
    model: ResidentModel,
    weights: Weights,
    *,
    mask: Mask,
    rows: TensorRows,
    indices: Tensor,
    plan: TrainPlan,
    rng: np.random.Generator,
    together: int = 1,
    trainer: Trainer = Sgd(),  # noqa: B008  a value
    state: ClientState | None = None,
    cache: PrefixCache | None = None,
) -> LocalResult:
    """Train one client's mask and return what changed; the resident model is left as it was found.

    Rows in groups are trained on as they are and without dropout: whoever knows the seed knows which units each row
    keeps, so answers under many seeds are many equations in which the rows of a group have weights of their own, and
    can be solved.

    Args:
        model: The resident model.
        weights: Global weights; never changed.
        mask: Layers to train besides ``always``.
        rows: All rows at hand.
        indices: The client's training rows.
        plan: Steps, batches, optimizer.
        rng: The client's stream for this round: batch order and dropout.
        together: Rows of the groups that are only used whole; 1 shuffles single rows.
        trainer: The parts of training that methods change.
        state: What the client kept of the tensors of this mask; by default nothing.
        cache: Where outputs of the frozen prefix are kept, if the plan says so; by default nowhere.

    Raises:
        ClientError: The loss or a delta is not finite.
    """
    if not model.layers.tensors_of(mask):
        raise ClientError("there is nothing to train: the mask is empty and no block is 'always'")
    alone = together == 1
    with torch.random.fork_rng(devices=_cuda_of(model)), model.training(weights, mask) as parameters:
        frozen = _frozen(model, cache, weights, parameters, rows, indices, plan, together)
        _set_mode(model, frozen.settled, alone=alone)
        _seed(model.device, int(rng.integers(2**63)))
        drawn = (
            _batch(rows, batch, model.device, trainer, frozen, alone=alone)
            for batch in batches(indices, plan, rng, together)
        )
        steps = local_steps(plan, len(indices), together)
        known = {n: {k: t.to(model.device) for k, t in kept.items()} for n, kept in (state or {}).items()}
        losses, new = _steps(model, parameters, weights, drawn, steps, plan, trainer, known)
        deltas = {name: difference(p.data, weights[name]) for name, p in parameters.items()}
    _check_finite(deltas)
    return LocalResult(
        deltas, steps=len(losses), loss_first=losses[0], loss_mean=float(np.mean(losses)), state=new, prefix=frozen.use
    )


def batches(indices: Tensor, plan: TrainPlan, rng: np.random.Generator, together: int = 1) -> Iterator[Tensor]:
    """Yield the row indices of each local step: epochs of shuffled batches, cut to ``plan.steps`` if given.

    Args:
        indices: The client's training rows.
        plan: Steps or epochs, and the batch size.
        rng: Shuffles each epoch.
        together: Rows of the groups that are only used whole; 1 shuffles single rows.

    Example:
        >>> plan = TrainPlan(steps=3, epochs=None, batch_size=2)
        >>> [len(b) for b in batches(torch.arange(3), plan, np.random.default_rng(0))]
        [2, 1, 2]
    """
    size = plan.batch_size or len(indices)
    done, epoch = 0, 0
    while plan.epochs is None or epoch < plan.epochs:
        for batch in _pass(indices, size, rng, together):
            if plan.steps is not None and done >= plan.steps:
                return
            yield batch
            done += 1
        epoch += 1


def _pass(indices: Tensor, size: int, rng: np.random.Generator, together: int) -> Iterable[Tensor]:
    """Return the batches of one epoch; a batch of all rows has them in their order."""
    if size >= len(indices):
        return (indices,)
    if together > 1:
        return passes_of_groups(indices, together, size, rng)
    order: Tensor = indices[torch.from_numpy(rng.permutation(len(indices)))]
    return tuple(order.split(size))


def _steps(
    model: ResidentModel,
    parameters: Mapping[TensorName, nn.Parameter],
    start: Weights,
    drawn: Iterable[tuple[Inputs, Tensor, AbstractContextManager[None] | None]],
    steps: int,
    plan: TrainPlan,
    trainer: Trainer,
    state: ClientState,
) -> tuple[list[float], ClientState]:
    device = model.device
    dtype = autocast_dtype(plan.precision, device)
    optimizer = trainer.optimizer(parameters, plan, {t.name for block in model.layers.always for t in block.tensors})
    trainer.begin(optimizer, state, parameters)
    rates = [group["lr"] for group in optimizer.param_groups]
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    losses: list[float] = []
    for inputs, labels, within in drawn:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * trainer.rate(len(losses), steps)
        optimizer.zero_grad(set_to_none=True)  # before the forward pass, whose activations take their place
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            logits = model.logits(inputs, within)
        loss = trainer.loss(model.objective, logits, inputs, labels)
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise ClientError(
                f"the loss became {losses[-1]} at local step {len(losses)}; lower train.lr or set train.clip_norm",
                reason="NONFINITE",
            )
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        trainer.correct(parameters, start, state)
        if plan.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters.values(), plan.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        del inputs, labels, logits, loss, within  # or they would be alive while the next batch is made
    return losses, kept_apart(trainer.end(optimizer, state, parameters), parameters.values())


def _batch(
    rows: TensorRows,
    batch: Tensor,
    device: torch.device,
    trainer: Trainer,
    frozen: _Frozen,
    *,
    alone: bool,
) -> tuple[Inputs, Tensor, AbstractContextManager[None] | None]:
    """Return a batch on the device, as the trainer changes it, and what the model is run in on it.

    Rows in groups are used as they are. The prefix's outputs are those of the rows, so a batch that the trainer has
    changed goes through the whole model.
    """
    inputs, labels = rows.take(batch)
    inputs, labels = {name: tensor.to(device) for name, tensor in inputs.items()}, labels.to(device)
    made, wanted = trainer.batch(inputs, labels) if alone else (inputs, labels)
    if frozen.visit is None:
        return made, wanted, None
    if made.keys() != inputs.keys() or any(made[name] is not tensor for name, tensor in inputs.items()):
        frozen.use.state = PrefixState.AUGMENTED
        return made, wanted, None
    return made, wanted, frozen.visit.over(batch, made)


def _frozen(
    model: ResidentModel,
    cache: PrefixCache | None,
    weights: Weights,
    parameters: Mapping[TensorName, nn.Parameter],
    rows: TensorRows,
    indices: Tensor,
    plan: TrainPlan,
    together: int,
) -> _Frozen:
    """Return how the rows go through what lies below the lowest trained layer."""
    dropout = plan.dropout if together == 1 else None
    if plan.prefix is None and dropout != "trained":
        return _Frozen(None, PrefixUse())
    cache = cache or PrefixCache(model, 0)
    settled = cache.settled(rows, parameters) if dropout == "trained" else frozenset()
    if plan.prefix is None:
        return _Frozen(None, PrefixUse(), settled)
    if local_steps(plan, len(indices), together) * (plan.batch_size or len(indices)) < len(indices):
        return _Frozen(None, PrefixUse(PrefixState.FEW_ROWS), settled)
    found = cache.visit(
        weights,
        parameters,
        rows=rows,
        indices=indices,
        held=plan.prefix,
        autocast=autocast_dtype(plan.precision, cache.model.device),
        dropout=dropout,
    )
    return (
        _Frozen(None, PrefixUse(found), settled)
        if isinstance(found, PrefixState)
        else _Frozen(found, found.use, settled)
    )


def _set_mode(model: ResidentModel, settled: Iterable[nn.Module], *, alone: bool) -> None:
    """Switch dropout on where it is to be: not for rows in groups, and not in settled modules."""
    model.set_training() if alone else model.set_evaluation()
    settle(settled)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast type for a precision on a device, or ``None`` for float32.

    Raises:
        ConfigError: ``fp16`` on a device without it.
    """
    if precision == "auto":
        usable = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if usable else None
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision: fp16 needs a GPU and this run is on the CPU; use fp32, bf16 or auto")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _check_finite(deltas: Weights) -> None:
    for name, delta in deltas.items():
        if not isfinite(measure(delta).norm):
            raise ClientError(
                f"the update of {name} is not finite; lower train.lr or set train.clip_norm",
                reason="NONFINITE",
            )


def _seed(device: torch.device, seed: int) -> None:
    """Seed what a device draws from; ``torch.manual_seed`` notes a stack for every kind of device that is absent."""
    generator = torch.default_generator if device.type == "cpu" else torch
    generator.manual_seed(seed)


def _cuda_of(model: ResidentModel) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []
