"""What the demo runs: one setting, two shifts, seven methods, the same knobs for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHIFTS: Mapping[str, str] = {"input": "inverted and rotated digits", "label": "permuted labels"}
"""Shift -> in words."""

METHODS: Mapping[str, str] = {
    "head only": "head-only",
    "full": "full",
    "top": "top",
    "bottom": "bottom",
    "random": "random",
    "independent": "independent",
    "consensus": "consensus",
}
"""Name in the table -> kind of selector."""

LAYERS_PER_CLIENT = 1
ROUNDS = 8


def device_file(out: Path) -> Path:
    """Return where the demo's device profile is."""
    return out / "device.yaml"


def demo_config(shift: str, method: str, *, seed: int, output: Path) -> dict[str, Any]:
    """Return the configuration of one of the demo's runs.

    Args:
        shift: Key of ``SHIFTS``.
        method: Key of ``METHODS``.
        seed: The run's seed.
        output: Its run folder.
    """
    kind = METHODS[method]
    budget: dict[str, Any] = {"kind": "fixed", "layers": LAYERS_PER_CLIENT}
    return {
        "name": method,
        "model": {"path": "embedded:vit-digits"},
        "data": {
            "kind": "digits",
            "shift": shift,
            "held_out": 0.1,
            "partition": {"kind": "dirichlet", "clients": 10, "alpha": 0.3},
        },
        "selector": {"kind": kind, "rho": 1.0} if kind == "consensus" else {"kind": kind},
        "budget": {"kind": "unlimited"} if kind in ("full", "head-only") else budget,
        "probe": {"batches": 1, "batch_size": 32},
        "train": {"rounds": ROUNDS, "steps": 5, "batch_size": 32, "optimizer": "sgd", "lr": 0.1},
        "checkpoint": {"every": ROUNDS},
        "devices": str(device_file(output.parent).absolute()),
        "seed": seed,
        "output": str(output),
    }
