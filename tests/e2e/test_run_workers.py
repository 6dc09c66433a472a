"""Whole runs in worker processes: the bits of a run in one process, also when it is resumed in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Said
from small_runs import after, digits, essence, events, start, write_config
from warm import warm_workers

OPTIONS: dict[str, Any] = {
    "seed": 5,
    "upload": {"encoding": "bf16"},
    "probe": {"batch_size": 8, "piggyback": True},
    "sampler": {"kind": "uniform", "clients_per_round": 2},
    "train": {"rounds": 4, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "momentum"},
    "trainer": {"kind": "sgd", "optimizer_state": "kept"},
}
"""Every kind of request: probes of their own, piggybacked probes, training from a state that is kept, evaluation."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a run in one process leaves."""
    folder = tmp_path_factory.mktemp("workers") / "local"
    start(digits(folder, **OPTIONS))
    return essence(folder)


def test_a_run_in_two_workers_has_the_bits_of_a_run_in_one_process(
    cli: Callable[..., Said], tmp_path: Path, local: dict[str, Any]
) -> None:
    config = write_config(tmp_path / "my.yaml", digits(tmp_path / "run", **OPTIONS))
    with warm_workers():
        said = cli("run", str(config), "--workers", "2", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert "engine: processes\nworkers: 2\n" in (tmp_path / "run" / "config.resolved.yaml").read_text()
    assert essence(tmp_path / "run") == local
    ages = [e["round"] - e["probe_round"] for e in events(tmp_path / "run", "client")]
    assert set(ages) == {0, 1}


def test_a_run_may_be_resumed_in_workers(cli: Callable[..., Said], tmp_path: Path, local: dict[str, Any]) -> None:
    start(digits(tmp_path / "run", **OPTIONS), stop=after(2))
    with warm_workers():
        said = cli("resume", str(tmp_path / "run"), "--workers", "1", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert "engine: local\n" in (tmp_path / "run" / "config.resolved.yaml").read_text()
    assert essence(tmp_path / "run") == local
