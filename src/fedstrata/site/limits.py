"""The site's own limits: what it refuses whatever a server asks, and what it leaves out of its answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.messages import Evaluate, Probe, Probed, ProbePlan, Reply, Request, Train, TrainPlan, Update
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.errors import ClientError
from fedstrata.site.keys import LimitsSection


def check_request(request: Request, layers: LayerMap) -> None:
    """Make sure that a request is what it seems to be: a mask of -1 would name the last layer by another name.

    Raises:
        ClientError: It names layers that the model does not have, or counts that are no counts.
    """
    if isinstance(request, Train):
        if not all(type(index) is int and 0 <= index < len(layers) for index in request.mask):
            raise ClientError(f"the mask names layers that the model does not have; it has {len(layers)}")
        plan, probe = request.plan, request.probe
        counts = [plan.batch_size, *(n for n in (plan.steps, plan.epochs) if n is not None)]
    else:
        probe = request.plan if isinstance(request, Probe) else None
        counts = []
    counts += [] if probe is None else [probe.batches, probe.batch_size]
    if not all(type(count) is int and count >= 0 for count in [request.round, *counts]):
        raise ClientError("the plan holds a count that is none")


def check_limits(
    request: Request, limits: LimitsSection, *, rows: int, refused: Mask, layers: LayerMap, sent: int
) -> None:
    """Refuse what the site's own file forbids.

    Args:
        request: What is asked, after ``check_request``.
        limits: What the site will not do.
        rows: Training rows of the site.
        refused: The layers that it refuses.
        layers: The model's layers.
        sent: Updates that it has sent in this run.

    Raises:
        ClientError: With reason ``REFUSED``, and the limit by name.
    """
    match request:
        case Train():
            _check_training(request, limits, refused, layers, sent)
            _check_rows(trained_rows(request.plan, rows), limits)
            if request.probe is not None:
                _check_probe(request.probe, limits, rows)
        case Probe():
            _check_probe(request.plan, limits, rows)
        case Evaluate():
            if not limits.evaluate:
                raise _refusal("its own limits keep loss and accuracy here (limits.evaluate)")


def withheld(reply: Reply, refused: Collection[int]) -> Reply:
    """Return a reply that tells nothing of the refused layers.

    An update holds none of them, since its mask was checked. In statistics, each of their values that depends on the
    site's rows is 0, so the layer scores 0; the sizes, the kinds of statistics that were asked for, the number of rows
    and the weights' norms, which the server knows, stay: admission takes the answer as it takes any other.
    """
    match reply:
        case Probed():
            stats = tuple(_zeros(s) if index in refused else s for index, s in enumerate(reply.stats))
            return replace(reply, stats=stats)
        case Update() if reply.ridden is not None:
            ridden = withheld(reply.ridden, refused)
            return replace(reply, ridden=ridden if isinstance(ridden, Probed) else None)
        case _:
            return reply


def trained_rows(plan: TrainPlan, rows: int) -> int:
    """Return how many different rows an update is computed from.

    Example:
        >>> trained_rows(TrainPlan(steps=2, epochs=None, batch_size=4), 20), trained_rows(TrainPlan(), 20)
        (8, 20)
    """
    if plan.steps is None:
        return rows
    return min(rows, plan.steps * (plan.batch_size or rows))


def probed_rows(plan: ProbePlan, rows: int) -> int:
    """Return how many rows a probe is computed from.

    Example:
        >>> probed_rows(ProbePlan(batches=1, batch_size=8), 20), probed_rows(ProbePlan(batches=0), 20)
        (8, 20)
    """
    return min(rows, plan.batches * plan.batch_size) if plan.batches else rows


def _check_training(request: Train, limits: LimitsSection, refused: Mask, layers: LayerMap, sent: int) -> None:
    names = [layers.names[index] for index in sorted(request.mask & refused)]
    if names:
        raise _refusal(f"its own limits refuse layer {names[0]} (limits.refuse)")
    if limits.rounds is not None and sent >= limits.rounds:
        raise _refusal(f"it has sent {sent} updates in this run and sends no more (limits.rounds)")


def _check_probe(plan: ProbePlan, limits: LimitsSection, rows: int) -> None:
    if not limits.scores:
        raise _refusal("its own limits keep gradient statistics here (limits.scores)")
    if plan.sketch is not None and not limits.sketches:
        raise _refusal("its own limits keep sketches of gradients here (limits.sketches)")
    _check_rows(probed_rows(plan, rows), limits)


def _check_rows(used: int, limits: LimitsSection) -> None:
    if used < limits.min_rows:
        raise _refusal("the work would use fewer rows than its own limits allow (limits.min_rows)")


def _refusal(message: str) -> ClientError:
    return ClientError(message, reason=Reason.REFUSED)


def _zeros(stats: LayerStats) -> LayerStats:
    def zero(value: float | None) -> float | None:
        return None if value is None else 0.0

    return replace(
        stats,
        sketch=None if stats.sketch is None else (0.0,) * len(stats.sketch),
        tensors=tuple(
            TensorStats(t.elements, t.weight_sq, 0.0, zero(t.half_dot), zero(t.snr_sum), zero(t.noise_sum))
            for t in stats.tensors
        ),
    )
