"""What a request may ask for at all, whatever the site's own file allows: masks, counts, rates.

The plan of a training comes from another machine, so every value is held to its type and to a range that no honest run
leaves. A weight decay that takes a large part of the weights away in one step is refused: at ``lr * weight_decay = 1``
an update would hold the bare gradient of its last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from fedstrata.domain.layers import LayerMap
from fedstrata.domain.training import Within, keys_of
from fedstrata.errors import ClientError
from fedstrata.parsing.typed import shown
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Request, Train, TrainPlan

MOST_STATES = 3
"""Versions of its own state that a site is asked to have ready: the newest, and those of two checkpoints."""
MOST_DECAY = 0.1
"""Learning rate times weight decay: the part of every weight that a step takes away."""


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
            _check_states(request)
            if request.probe is not None:
                _check_values(request.probe, "probe")
        case Probe():
            _check_values(request.plan, "probe")
        case Evaluate():
            if request.together:
                raise ClientError("the request names clients to evaluate together, and a site has its own rows alone")


def _check_states(request: Train) -> None:
    """Make sure that the versions of the site's own state are such as were left before this training."""
    at, states = (request.round, request.origin.attempt), request.states or ()
    honest = all(type(count) is int and count >= 0 for version in states for count in version)
    if len(states) > MOST_STATES or not honest or any(version >= at for version in states):
        raise ClientError("the request names versions of the site's own state that no training before it has left")


def _check_training(plan: TrainPlan) -> None:
    _check_values(plan, "train")
    if plan.steps is None and plan.epochs is None:
        raise ClientError("the plan has neither steps nor epochs (train.steps, train.epochs), so it would never end")
    taken = max(plan.lr, plan.always_lr or 0.0) * plan.weight_decay
    if taken > MOST_DECAY:
        raise ClientError(
            f"the plan's learning rate times its weight decay is {taken:g}, and {MOST_DECAY:g} is the most:"
            " lower train.weight_decay"
        )


def _check_values(plan: TrainPlan | ProbePlan, section: str) -> None:
    kind: type = type(plan)
    for key, types in keys_of(kind).items():
        value = getattr(plan, key)
        if not any(_fits(value, kind, marks) for kind, marks in types):
            may = ", or ".join(_said(kind, marks) for kind, marks in types)
            raise ClientError(f"the plan has {section}.{key}: {shown(value)}; it is {may}")


def _fits(value: object, kind: Any, marks: Sequence[object]) -> bool:  # noqa: ANN401  a type of a key
    """Return whether a value is of a type; a number whose key has no range is refused."""
    if get_origin(kind) is Literal:
        return type(value) is str and value in get_args(kind)
    if kind not in (int, float):
        return isinstance(value, get_origin(kind) or kind)
    number = type(value) is int or (kind is float and type(value) is float)
    return number and any(isinstance(m, Within) and m.least <= value <= m.most for m in marks)  # type: ignore[operator]


def _said(kind: Any, marks: Sequence[object]) -> str:  # noqa: ANN401  a type of a key
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    words = {NoneType: "null", int: "a whole number", float: "a number"}
    ranges = [f" from {mark.least:g} to {mark.most:g}" for mark in marks if isinstance(mark, Within)]
    return words.get(kind, f"of type {getattr(kind, '__name__', kind)}") + "".join(ranges)
