"""The page of performance says what was measured, goals missed and benchmarks that did not end included."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, object]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def page() -> Callable[[Any], str]:
    spec = importlib.util.spec_from_file_location("page", BENCHMARKS / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Any], str] = module.page
    return found


def row(**other: object) -> Row:
    usual: Row = {
        "bench": "round",
        "name": "a round",
        "ours": 2.0,
        "base": 1.0,
        "ratio": 2.0,
        "goal": 1.1,
        "gain": False,
    }
    return usual | {"unit": "s", "met": False} | other


def results(*rows: Row) -> Row:
    machine: Row = {"processor": "A", "cores": 2, "memory_gb": 8, "system": "Linux", "python": "3.11"}
    return {"date": "2026-01-02", "short": True, "machine": machine, "versions": {"torch": "2.13"}, "rows": list(rows)}


def test_goals_that_are_met_and_missed_are_told_apart(page: Callable[[Any], str]) -> None:
    told = page(results(row(), row(name="a gain", ratio=1.9, goal=1.8, gain=True, met=True)))
    assert "| a round | 2 s | 1 s | 2.00 | <= 1.1 | missed |" in told
    assert "| a gain | 2 s | 1 s | 1.90 | >= 1.8 | met |" in told
    assert "Measured on 2026-01-02: A, 2 cores, 8 GB,\nLinux, Python 3.11; torch 2.13." in told


def test_a_benchmark_that_did_not_end_is_on_the_page(page: Callable[[Any], str]) -> None:
    failed: Row = {"bench": "peers", "failed": "bench_peers.py ended with exit code 1"}
    assert "| peers | | | | | did not end: bench_peers.py ended with exit code 1 |" in page(results(failed))


def test_shares_of_a_round_are_a_table_of_their_own(page: Callable[[Any], str]) -> None:
    told = page(results(row(), row(name="1 M: client/train.py: train", ratio=0.125, unit="share", goal=None, met=None)))
    head, profile = told.split("## Where the time of a round goes")
    assert "train.py" not in head
    assert "| 1 M: client/train.py: train | 12.5 % |" in profile
