"""Sweeps for tests: files that stand for tiny runs on the digits, and workers that only pretend to play them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedstrata.assembly.inputs import Inputs, model_files, write_inputs
from fedstrata.config.load import Loaded, check_config
from fedstrata.runs.folder import RunFolder
from fedstrata.sweeping import pool as pool
from fedstrata.sweeping.jobs import Sweep, load_sweep
from report.synthetic_run import write_run
from small_runs import digits

MADE_OF = Inputs(data={}, model=model_files(check_config(digits(Path("unused")))), train={}, test={}, frozen={})
"""What runs of the digits are made of, as far as a sweep looks."""


def base() -> dict[str, Any]:
    """Return the base configuration: two rounds of three clients."""
    values = digits(Path("unused"))
    del values["output"], values["selector"]
    return values


def sweep_file(folder: Path, **keys: Any) -> Path:  # noqa: ANN401  YAML values
    """Write a sweep of two methods and two seeds, and return its file."""
    values = {
        "row": "digits",
        "size": "tiny",
        "config": base(),
        "output": str(folder / "out"),
        "seeds": [0, 1],
        "methods": {"top": {"set": {"selector": "top"}}, "bottom": {"set": {"selector": "bottom"}}},
        **keys,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def loaded(folder: Path, *, overrides: Sequence[str] = (), **keys: Any) -> Sweep:  # noqa: ANN401  YAML values
    """Return a checked sweep; its configurations have the clients ``a`` and ``b``."""
    return load_sweep(sweep_file(folder, **keys), overrides=overrides, clients=two_clients)


def two_clients(loaded: Loaded) -> tuple[str, ...]:
    """Return two names, whatever the configuration."""
    return ("a", "b")


def with_toy_workers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have workers pretend: they leave a folder that another run wrote, and do what the method's name says."""
    run = write_run(folder / "toy", seed=7, rounds=2, names=("a", "b"))
    write_inputs(RunFolder(run), MADE_OF)
    monkeypatch.setenv("TOY_RUN", str(run))
    monkeypatch.setattr(pool, "WORKER", "toy_sweep_worker")
