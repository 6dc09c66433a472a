"""Requests as JSON, without the weights, which travel beside it or lie in shared memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from fedstrata.parsing.typed import plain, shown, typed
from fedstrata.wire.messages import Evaluate, Probe, Request, Train, Weights, phase_of

_PHASES: Mapping[str, TypeAdapter[Any]] = {
    "probe": TypeAdapter(Probe),
    "train": TypeAdapter(Train),
    "evaluate": TypeAdapter(Evaluate),
}


def to_json(request: Request) -> dict[str, Any]:
    """Return a request as plain values.

    Example:
        >>> from fedstrata.domain.ids import ClientId
        >>> to_json(Evaluate(ClientId("a"), 3, {}))["phase"]
        'evaluate'
    """
    phase = phase_of(request)
    return {"phase": phase, **plain(_PHASES[phase], request)}


def from_json(said: object, weights: Weights) -> Request:
    """Return the request that ``to_json`` wrote down, at these weights.

    Raises:
        ValueError: It is none, whatever it is.
    """
    if not isinstance(said, dict):
        raise ValueError(f"no request is {shown(said)}")
    values = dict(said)
    form = _PHASES.get(phase) if isinstance(phase := values.pop("phase", None), str) else None
    if form is None:
        raise ValueError(f"no request is of the phase {shown(phase)}")
    request: Request = typed(form, values)
    return replace(request, weights=weights)
