"""Requests as JSON, without the weights, which lie in shared memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fedstrata.domain.ids import ClientId
from fedstrata.domain.sketch import Hashing
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import (
    Evaluate,
    Origin,
    Probe,
    ProbePlan,
    Request,
    Train,
    TrainPlan,
    Weights,
    phase_of,
)
from fedstrata.wire.sizes import Encoding


def to_json(request: Request) -> dict[str, Any]:
    """Return a request as plain values.

    Example:
        >>> to_json(Evaluate(ClientId("a"), 3, {}))["phase"]
        'evaluate'
    """
    said: dict[str, Any] = {
        "phase": phase_of(request),
        "client": request.client,
        "round": request.round,
        "origin": asdict(request.origin),
    }
    match request:
        case Probe():
            said["plan"] = _probe_plan(request.plan)
        case Train():
            said |= {"mask": sorted(request.mask), "plan": asdict(request.plan)}
            said["probe"] = _probe_plan(request.probe) if request.probe else None
    return said


def from_json(said: Mapping[str, Any], weights: Weights) -> Request:
    """Return the request that ``to_json`` wrote down, at these weights."""
    client, round, origin = ClientId(said["client"]), said["round"], Origin(**said["origin"])
    match said["phase"]:
        case "probe":
            return Probe(client, round, weights, _read_probe_plan(said["plan"]), origin)
        case "train":
            plan = TrainPlan(**{**said["plan"], "encoding": Encoding(said["plan"]["encoding"])})
            probe = _read_probe_plan(said["probe"]) if said["probe"] else None
            return Train(client, round, weights, frozenset(said["mask"]), plan, origin, probe)
        case "evaluate":
            return Evaluate(client, round, weights, origin)
    raise ValueError(f"no request is of the phase {said['phase']}")


def _probe_plan(plan: ProbePlan) -> dict[str, Any]:
    return asdict(plan) | {"statistics": sorted(plan.statistics)}


def _read_probe_plan(said: Mapping[str, Any]) -> ProbePlan:
    sketch = Hashing(**said["sketch"]) if said["sketch"] is not None else None
    return ProbePlan(**{**said, "statistics": frozenset(map(Statistic, said["statistics"])), "sketch": sketch})
