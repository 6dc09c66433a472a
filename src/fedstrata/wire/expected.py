"""What a request asks for: the assignment that its answer is held against."""

from __future__ import annotations

from dataclasses import replace

from fedstrata.domain.layers import LayerMap
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Probe, ProbePlan, Request, Train, phase_of


def asked_of(request: Request, layers: LayerMap) -> Assignment:
    """Return what a request asks for, without limits of rows and norms."""
    phase = phase_of(request)
    if isinstance(request, Train):
        blocks, plan = layers.blocks(request.mask), request.plan
        asked = Assignment(request.client, request.round, phase, request.origin, request.mask, blocks, plan.encoding)
        return replace(asked, piggybacked=_probe_of(request, request.probe, layers) if request.probe else None)
    if isinstance(request, Probe):
        return _probe_of(request, request.plan, layers)
    return Assignment(request.client, request.round, phase, request.origin)


def _probe_of(request: Request, plan: ProbePlan, layers: LayerMap) -> Assignment:
    asked = Assignment(request.client, request.round, "probe", request.origin)
    return replace(
        asked, blocks=layers.layers, statistics=plan.statistics, sketch=plan.sketch.dimension if plan.sketch else 0
    )
