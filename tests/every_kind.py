"""One component of every kind in the catalog, for the suites that every component has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstrata.config.catalog import CATALOG, build

NEEDED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("budget", "fixed"): {"layers": 2},
    ("budget", "half-normal"): {"low": 1, "high": 4},
    ("budget", "per-client"): {"clients": {"c1": 3}, "default": 1},
    ("sampler", "only"): {"clients": ["here", "always"]},
    ("selector", "fixed"): {"layers": "0"},
    ("selector", "periodic"): {"every": 2, "inner": "consensus"},
    ("selector", "warmup"): {"rounds": 0, "inner": "common"},
}
"""Options that a kind does not have by itself."""


def every(family: str, *more: Mapping[str, Any]) -> list[Any]:
    """Return a component of each kind of a family, and of specifications besides."""
    kinds = ({"kind": kind, **NEEDED.get((family, kind), {})} for kind in CATALOG[family])
    return [build(family, spec, (family,)) for spec in (*kinds, *more)]
