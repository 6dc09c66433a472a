"""All components of a configuration, built from its tagged mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstrata.aggregators.protocol import Aggregator
from fedstrata.budgets.protocol import Budget
from fedstrata.config.catalog import BuildError, build
from fedstrata.costs.protocol import CostModel
from fedstrata.data.kinds import Data
from fedstrata.errors import ConfigError
from fedstrata.imports import importable
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem
from fedstrata.samplers.protocol import Sampler
from fedstrata.scores.protocol import Score
from fedstrata.selectors.protocol import Selector, chooses
from fedstrata.trainers.protocol import Trainer

DEFAULTS: Mapping[str, Any] = {
    "score": "gradient-norm",
    "cost": "measured",
    "sampler": "uniform",
    "selector": "consensus",
    "trainer": "sgd",
    "aggregator": "layerwise-mean",
}
"""What a configuration that does not say gets; ``data`` and ``model`` have no default."""


@dataclass(frozen=True, slots=True)
class Components:
    """One component per family."""

    data: Data
    score: Score
    cost: CostModel
    budget: Budget
    sampler: Sampler
    selector: Selector
    trainer: Trainer
    aggregator: Aggregator


def build_components(values: Mapping[str, Any], base: Path) -> tuple[Components | None, list[Problem]]:
    """Build every component, or return every problem."""
    problems: list[Problem] = []
    built: dict[str, Any] = {}
    with importable(base):
        for family in ("data", *DEFAULTS, "budget"):
            try:
                spec = _spec(family, values, base, built.get("selector"))
            except ConfigError as error:
                problems.append(Problem((family, "file"), str(error)))
                continue
            if spec is None:
                continue
            try:
                built[family] = build(family, spec, (family,))
            except BuildError as error:
                problems += error.problems
    if problems or "data" not in built:
        return None, problems
    return Components(**built), []


def _spec(family: str, values: Mapping[str, Any], base: Path, selector: Selector | None) -> Any:  # noqa: ANN401  YAML
    """Return what a component is built from; a selector that chooses some layers has a budget of one by default."""
    spec = values.get(family, DEFAULTS.get(family))
    if family == "data" and isinstance(spec, Mapping) and "kind" not in spec:
        return {"kind": "files", **spec}
    if family != "budget":
        return spec
    if isinstance(spec, int) and not isinstance(spec, bool):
        return {"kind": "fixed", "layers": spec}
    if isinstance(spec, Mapping):
        spec = {"kind": "fixed", **spec}
        if isinstance(spec.get("file"), str):
            spec["file"] = str((base / expanded(spec["file"])).resolve())
    if spec is not None:
        return spec
    return {"kind": "fixed", "layers": 1} if selector is None or chooses(selector) == "some" else "unlimited"
