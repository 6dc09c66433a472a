"""A client that holds more memory than its budget is named by `run`, in one of its last lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from commands import Said
from fedstrata.assembly import runtime as workplace
from fedstrata.client import meter
from fedstrata.client.meter import Peak
from small_runs import digits, write_config

LIMIT, HELD = 500 * 10**6, 531 * 10**6


@contextmanager
def greedy(device: torch.device, held: int) -> Iterator[Peak]:
    """Stand in for what measures: every visit holds the same."""
    yield Peak(HELD)


def test_who_went_over_its_memory_is_one_line_of_run(
    tmp_path: Path, cli: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "metered", greedy)
    monkeypatch.setattr(workplace, "map_large_blocks", lambda: None)  # it would last for the tests after this one
    budget = {"kind": "per-client", "clients": {"client-01": {"bytes_peak": LIMIT}}, "default": {"bytes_peak": "1 GB"}}
    train = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1}
    values = digits(tmp_path / "run", budget=budget, train=train, selector="top")
    said = cli("run", str(write_config(tmp_path / "c.yaml", values)))
    assert said.code == 0, said.err
    assert [line for line in said.out.splitlines() if "held more" in line] == [
        "1 client held more memory than its budget: client-01 531.00 MB of 500.00 MB; set limits lower by as much"
    ]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["over_memory"] == {"client-01": [HELD, LIMIT]}
