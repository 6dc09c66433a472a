"""A plan as JSON values: stable keys, base units, ``None`` for what is unknown or unlimited."""

from __future__ import annotations

from math import isfinite
from typing import Any

from fedstrata.config.catalog import describe
from fedstrata.domain.cost import Cost
from fedstrata.domain.units import BUDGET_UNITS
from fedstrata.planning.forecast import Forecast
from fedstrata.planning.plan import Block, Means, Plan
from fedstrata.planning.spans import Span
from fedstrata.planning.warnings import plan_warnings


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return everything that a plan knows.

    Keys: ``planned``, ``blocks``, ``reference``, ``clients``, ``selectors``, ``full``, ``head_only``, ``warnings``, and
    ``refusals``: why a run would not start.
    """
    return {
        "planned": _planned(plan),
        "blocks": [_block(block) for block in plan.blocks],
        "reference": {
            "client": plan.reference,
            "head_only": _cost(plan.nothing),
            "full": _cost(plan.everything),
            "probe": _cost(plan.probe),
        },
        "clients": [_client(means) for means in plan.clients],
        "selectors": [_forecast(found) for found in plan.selectors],
        "full": _forecast(plan.full),
        "head_only": _forecast(plan.head_only),
        "warnings": list(plan_warnings(plan)),
        "refusals": list(plan.subject.prepared.refusals),
    }


def _planned(plan: Plan) -> dict[str, Any]:
    about = plan.subject
    config, parts, setting = about.loaded.config, about.loaded.components, about.prepared.setting
    workloads = about.prepared.workloads
    lengths = [length for w in workloads.values() for _, length in w.train if length is not None]
    return {
        "model": config.model.path,
        "task": about.task,
        "layers": len(setting.layers),
        "units": config.model.units,
        "adapter": config.model.adapter.model_dump(mode="json") if config.model.adapter else None,
        "parameters": sum(block.parameters for block in plan.blocks),
        "parameter_bytes": about.parameter_bytes,
        "data": about.source,
        "clients": len(setting.profiles),
        "cohort": cohort(plan),
        "rounds": config.train.rounds,
        "steps": [min(len(w.train) for w in workloads.values()), max(len(w.train) for w in workloads.values())],
        "batch_rows": max(rows for w in workloads.values() for rows, _ in w.train),
        "length": max(lengths, default=None),
        "optimizer": config.train.optimizer,
        "client_state_bytes": kept_bytes(plan),
        "probe": config.probe.model_dump(),
        "probed_clients": len(about.prepared.probed),
        "method": setting.name,
        **{
            family: describe(getattr(parts, family))
            for family in ("score", "cost", "budget", "sampler", "selector", "trainer")
        },
        "seed": config.seed,
    }


def kept_bytes(plan: Plan) -> int:
    """Return the bytes of what a client keeps between rounds once it has trained every layer; 0 for nothing."""
    setting = plan.subject.prepared.setting
    return setting.trainer.kept_copies * sum(block.bytes for block in setting.layers.trainable)


def cohort(plan: Plan) -> int:
    """Return the number of clients of the first round."""
    return len(plan.subject.prepared.setting.cohort(0, 0))


def _block(block: Block) -> dict[str, Any]:
    return {
        "index": block.index,
        "name": block.name,
        "role": block.role,
        "parameters": block.parameters,
        "bytes_up": block.bytes_up,
        "flops_forward": block.forward,
        "flops_weight_gradient": block.weight,
        "alone": block.alone and _cost(block.alone),
    }


def _client(means: Means) -> dict[str, Any]:
    masks = means.masks
    return {
        "client": means.client,
        "num_examples": means.examples,
        "budget": {unit: _number(value) for unit, value in means.budget.items() if unit in BUDGET_UNITS},
        "affordable_layers": list(masks.singles),
        "deepest_layer": min(masks.singles, default=None),
        "layers_from_output": masks.top,
        "largest_mask": masks.most,
        "largest_mask_proven": masks.most_exact,
        "cheapest_mask": masks.cheapest and _cost(masks.cheapest),
        "dearest_mask": masks.dearest and _cost(masks.dearest),
        "dearest_mask_bounds": list(masks.loose),
        "head_only": _cost(means.nothing),
        "full": _cost(means.everything),
        "full_fits": means.everything.fits(means.budget),
    }


def _forecast(found: Forecast) -> dict[str, Any]:
    return {
        "name": found.name,
        "problem": found.problem,
        "depends_on_scores": found.ranged,
        "probed_share": found.probes,
        "rounds_played": found.rounds,
        "mean": found.mean and _span(found.mean),
        "dearest": found.dearest and _span(found.dearest),
        "run": found.run and _span(found.run),
        "bytes_down_first": found.down_first,
        "bytes_down_later": found.down_later,
    }


def _span(span: Span) -> dict[str, Any]:
    return {"low": _cost(span.low), "high": _cost(span.high), "bounds": list(span.loose)}


def _cost(cost: Cost) -> dict[str, float | None]:
    return {unit: _number(value) for unit, value in cost.items()}


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
