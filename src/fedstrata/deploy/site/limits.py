"""The site's own limits: what it refuses whatever a server asks, and what it leaves out of its answers."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256

from fedstrata.client.batching import local_steps
from fedstrata.deploy.site.site_schema import LimitsSection
from fedstrata.domain.formatting import plural
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.reasons import Reason
from fedstrata.domain.rounds import number
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.domain.training import ANEW, marked
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Evaluate, Probe, Probed, ProbePlan, Reply, Request, Train, TrainPlan, Update

_RATES = frozenset(marked(TrainPlan, ANEW))
"""What a run may change of its plan after a round that diverged; how the same rows are cut into steps it may not."""


@dataclass(frozen=True, slots=True)
class Past:
    """What has left the site, in all runs together; failures of work that had begun count as what was asked for.

    Attributes:
        updates: Number of updates.
        probes: Number of answers to probes, those piggybacked on updates among them.
        evaluations: Number of answers to evaluations.
        plans: Digest of the plan that each piece of training of the run was answered under, by round (from 1) and
            attempt.
    """

    updates: int = 0
    probes: int = 0
    evaluations: int = 0
    plans: Mapping[tuple[int, int], str] = field(default_factory=dict)


def check_limits(
    request: Request,
    limits: LimitsSection,
    *,
    rows: int,
    held_out: int,
    refused: Mask,
    layers: LayerMap,
    past: Past,
) -> None:
    """Refuse what the site's own file forbids.

    Args:
        request: What is asked, after ``check_request``.
        limits: What the site will not do.
        rows: Training rows of the site.
        held_out: Rows that it holds out.
        refused: The layers that it refuses.
        layers: The model's layers.
        past: What has left it.

    Raises:
        ClientError: With reason ``REFUSED``, and the limit by name.
    """
    match request:
        case Train():
            _check_mask(request.mask, refused, layers)
            _check_plan(request.plan, limits, rows)
            _check_again(request, past)
            _check_count(past.updates, limits.rounds, "trained", "rounds")
            if request.probe is not None:
                _check_probe(request.probe, limits, rows, past)
        case Probe():
            _check_probe(request.plan, limits, rows, past)
        case Evaluate():
            if not limits.evaluate:
                raise _refusal("its own limits keep loss and accuracy here (limits.evaluate)")
            _check_count(past.evaluations, limits.evaluations, "evaluated", "evaluations")
            if held_out:
                _check_rows(held_out, limits, "the evaluation would use", "held-out rows")


def digest_of_plan(request: Train) -> str:
    """Return what tells two plans of training apart, without the rates, which may change when a round is played anew.

    Example:
        ``tests/deploy/site/test_limits.py`` asks for the same round under two plans.
    """
    plan = {key: value for key, value in asdict(request.plan).items() if key not in _RATES}
    return sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def check_threads(threads: int, limits: LimitsSection) -> None:
    """Refuse a run that asks for more threads than the site's file allows, or than the machine has cores.

    Raises:
        ClientError: With reason ``REFUSED``.
    """
    most = limits.threads or os.cpu_count() or 1
    if threads > most:
        whose = "its own limits allow" if limits.threads else "its machine has"
        raise _refusal(
            f"the run asks for {threads} threads, and {whose} {most} (limits.threads); lower threads in the run's"
            " configuration"
        )


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
        case Update() if reply.piggybacked is not None:
            piggybacked = withheld(reply.piggybacked, refused)
            return replace(reply, piggybacked=piggybacked if isinstance(piggybacked, Probed) else None)
        case _:
            return reply


def _check_mask(mask: Mask, refused: Mask, layers: LayerMap) -> None:
    names = [layers.names[index] for index in sorted(mask & refused)]
    if names:
        raise _refusal(f"its own limits refuse layer {names[0]} (limits.refuse)")


def _check_plan(plan: TrainPlan, limits: LimitsSection, rows: int) -> None:
    """Refuse steps from too few rows each, too many of them, and too large ones.

    Without groups a step may be the short one at an epoch's end, so groups there are whenever ``min_rows`` is above 1.
    """
    _check_rows(min(plan.batch_size or rows, rows), limits, "a local step would use", "rows")
    steps = local_steps(plan, rows, limits.min_rows)
    if steps > limits.steps:
        allowed = f"its own limits allow {limits.steps:,} (limits.steps)"
        raise _refusal(f"the plan takes {steps:,} local steps, and {allowed}")
    rate = max(plan.lr, plan.always_lr or 0.0)
    if rate > limits.lr:
        raise _refusal(f"the learning rate is {rate:g}, and its own limits allow {limits.lr:g} (limits.lr)")


def _check_again(request: Train, past: Past) -> None:
    at = number("train", request.round)
    known = past.plans.get((at, request.origin.attempt))
    if known is not None and known != digest_of_plan(request):
        raise _refusal(
            f"it has trained in round {at} of this run under another plan, and the same draw is used under"
            " one plan alone"
        )


def _check_probe(plan: ProbePlan, limits: LimitsSection, rows: int, past: Past) -> None:
    if not limits.scores:
        raise _refusal("its own limits keep gradient statistics here (limits.scores)")
    if plan.sketch is not None and not limits.sketches:
        raise _refusal("its own limits keep sketches of gradients here (limits.sketches)")
    _check_count(past.probes, limits.probes, "measured gradients", "probes")
    drawn = min(rows, plan.batches * plan.batch_size) if plan.batches else rows
    _check_rows(drawn, limits, "the probe would use", "rows")


def _check_count(done: int, most: int | None, what: str, key: str) -> None:
    if most is not None and done >= most:
        raise _refusal(f"it has {what} {plural(done, 'time')}, and its own limits allow {most:,} (limits.{key})")


def _check_rows(used: int, limits: LimitsSection, what: str, noun: str) -> None:
    if used < limits.min_rows:
        raise _refusal(f"{what} {used} {noun}, and its own limits ask for {limits.min_rows} (limits.min_rows)")


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
