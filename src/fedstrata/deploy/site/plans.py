"""What a request may ask for at all, whatever the site's own file allows: masks, counts, rates.

The plan of a training comes from another machine, so every value is held to its type and to a range that no honest run
leaves. A weight decay that takes a large part of the weights away in one step is refused: at ``lr * weight_decay = 1``
an update would hold the bare gradient of its last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Request, Train, TrainPlan

MOST_STEPS = 1_000_000
"""Local steps, or epochs, of one update."""
MOST_BATCH = 2**31 - 1
MOST_RATE = 1000.0
MOST_DECAY = 0.1
"""Learning rate times weight decay: the part of every weight that a step takes away."""
_OPTIMIZERS = ("sgd", "momentum", "adamw")
_PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers from ``least`` to ``most``; the ends count."""

    least: float
    most: float
    whole: bool = False
    optional: bool = False

    def holds(self, value: object) -> bool:
        if value is None:
            return self.optional
        kinds = (int,) if self.whole else (int, float)
        return type(value) in kinds and self.least <= value <= self.most  # type: ignore[operator]

    def __str__(self) -> str:
        what = "whole number" if self.whole else "number"
        return f"a {what} from {self.least:g} to {self.most:g}" + (", or null" if self.optional else "")


_TINY = 1e-12
_TRAINING = {
    "steps": _Range(1, MOST_STEPS, whole=True, optional=True),
    "epochs": _Range(1, MOST_STEPS, whole=True, optional=True),
    "batch_size": _Range(0, MOST_BATCH, whole=True),
    "lr": _Range(0, MOST_RATE),
    "always_lr": _Range(0, MOST_RATE, optional=True),
    "momentum": _Range(0, 0.9999),
    "weight_decay": _Range(0, 10),
    "clip_norm": _Range(_TINY, 1e12, optional=True),
}
_PROBING = {
    "batches": _Range(0, MOST_BATCH, whole=True),
    "batch_size": _Range(1, MOST_BATCH, whole=True),
}


def check_request(request: Request, layers: LayerMap) -> None:
    """Make sure that a request asks for what can be: a mask of -1 would name the last layer by another name.

    Raises:
        ClientError: It names layers that the model does not have, or numbers that no plan has.
    """
    match request:
        case Train():
            if not all(type(index) is int and 0 <= index < len(layers) for index in request.mask):
                raise ClientError(f"the mask names layers that the model does not have; it has {len(layers)}")
            _check_training(request.plan)
            if request.probe is not None:
                _check_numbers(request.probe, _PROBING, "probe")
        case Probe():
            _check_numbers(request.plan, _PROBING, "probe")
        case Evaluate():
            pass


def _check_training(plan: TrainPlan) -> None:
    _check_numbers(plan, _TRAINING, "train")
    if plan.steps is None and plan.epochs is None:
        raise ClientError("the plan has neither steps nor epochs (train.steps, train.epochs), so it would never end")
    if plan.optimizer not in _OPTIMIZERS or plan.precision not in _PRECISIONS:
        raise ClientError("the plan names an optimizer or a precision that this version of fedstrata does not know")
    taken = max(plan.lr, plan.always_lr or 0.0) * plan.weight_decay
    if taken > MOST_DECAY:
        raise ClientError(
            f"the plan's learning rate times its weight decay is {taken:g}, and {MOST_DECAY:g} is the most:"
            " lower train.weight_decay"
        )


def _check_numbers(plan: TrainPlan | ProbePlan, ranges: dict[str, _Range], section: str) -> None:
    for key, allowed in ranges.items():
        value = getattr(plan, key)
        if not allowed.holds(value):
            raise ClientError(f"the plan has {section}.{key}: {_shown(value)}; it is {allowed}")


def _shown(value: object) -> str:
    if type(value) is int and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return repr(value)[:20] if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"
