"""Whole runs with the prefix cache: what is kept where, and for how long, changes no bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Said
from small_runs import after, digits, essence, events, resume, start, write_config
from warm import warm_workers

OPTIONS: dict[str, Any] = {
    "data": {
        "kind": "digits",
        "shift": "input",
        "held_out": 0.8,
        "partition": {"kind": "iid", "clients": 3},
    },
    "selector": {"kind": "fixed", "layers": "last:1"},
    "train": {"rounds": 2, "epochs": 2, "batch_size": 32, "lr": 0.1, "optimizer": "sgd"},
    "seed": 5,
    "cache": "on",
}


@pytest.fixture(scope="module")
def plenty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a run leaves that has memory for everything."""
    folder = tmp_path_factory.mktemp("cache") / "plenty"
    start(digits(folder, **OPTIONS))
    return essence(folder)


def test_rows_are_computed_in_the_first_round_alone_and_the_record_says_so(tmp_path: Path) -> None:
    start(digits(tmp_path, **OPTIONS))
    told = events(tmp_path, "client")
    assert {e["prefix"] for e in told} == {"cached"}
    assert [e["prefix_computed"] for e in told if e["round"] == 1] == [e["num_examples"] for e in told[:3]]
    assert {e["prefix_computed"] for e in told if e["round"] > 1} == {0}
    assert all(e["prefix_read"] == 2 * e["num_examples"] for e in told if e["round"] > 1)


@pytest.mark.parametrize("memory", [0, "20 kB"])
def test_memory_changes_no_bit(tmp_path: Path, plenty: dict[str, Any], memory: int | str) -> None:
    start(digits(tmp_path, **{**OPTIONS, "cache": {"memory": memory}}))
    assert essence(tmp_path) == plenty


def test_a_run_that_is_resumed_computes_again_to_the_same_bits(tmp_path: Path, plenty: dict[str, Any]) -> None:
    start(digits(tmp_path, **OPTIONS), stop=after(1))
    resume(tmp_path, overrides=["cache.memory=30000"])
    assert essence(tmp_path) == plenty


def test_two_workers_change_no_bit(cli: Callable[..., Said], tmp_path: Path, plenty: dict[str, Any]) -> None:
    config = write_config(tmp_path / "my.yaml", digits(tmp_path / "run", **OPTIONS))
    with warm_workers():
        said = cli("run", str(config), "--workers", "2", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert essence(tmp_path / "run") == plenty


def test_without_a_cache_it_says_off(tmp_path: Path) -> None:
    start(digits(tmp_path, **{**OPTIONS, "train": {**OPTIONS["train"], "rounds": 1}, "cache": "off"}))
    assert {e["prefix"] for e in events(tmp_path, "client")} == {"off"}
