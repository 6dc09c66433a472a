"""What runs of one process share: rows of the same data and seed, steps of the same shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.config.load import Loaded, check_config
from fedstrata.costs.protocol import Workload
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.profile import StepProfile
from fedstrata.sweeping.rows import LatestRows
from fedstrata.sweeping.step_cost_cache import KnownSteps
from small_runs import digits


def config(**sections: Any) -> Loaded:  # noqa: ANN401  YAML values
    return check_config({**digits(Path("unused")), **sections})


def counting() -> tuple[LatestRows, list[int]]:
    seeds: list[int] = []

    def load(loaded: Loaded) -> FederatedData:
        seeds.append(loaded.config.seed)
        return load_rows(loaded)

    return LatestRows(load), seeds


def test_runs_that_differ_in_method_share_rows() -> None:
    rows, loads = counting()
    first = rows(config())
    assert rows(config(selector="top", budget=2, train={"rounds": 7}, output="other")) is first
    assert loads == [0]


def test_another_seed_or_partition_is_loaded_anew_and_the_old_rows_are_let_go() -> None:
    rows, loads = counting()
    rows(config())
    rows(config(seed=1))
    fewer = {**digits(Path())["data"], "partition": {"kind": "iid", "clients": 2}}
    assert len(rows(config(seed=1, data=fewer)).clients) == 2
    rows(config())
    assert loads == [0, 1, 1, 0]


def test_steps_are_measured_once_for_the_same_model_and_batches() -> None:
    measured: list[int] = []

    def measure(network: object, sample: object, workloads: list[Workload]) -> tuple[StepProfile, ...]:
        measured.append(workloads[0].train[0][0])
        return ()

    steps = KnownSteps(measure)  # type: ignore[arg-type]
    loaded = config()
    data = load_rows(loaded)
    sample = {"pixel_values": torch.zeros(1, 1, 8, 8)}
    for rows in (8, 8, 16):
        network = load_network(loaded, data)  # weights are other objects every time
        assert steps(network, sample, [Workload(((rows, None),))]) == ()
    assert measured == [8, 16]


def test_another_choice_of_layers_is_measured_anew() -> None:
    measured: list[int] = []

    def measure(network: object, sample: object, workloads: object) -> tuple[StepProfile, ...]:
        measured.append(1)
        return ()

    steps = KnownSteps(measure)
    for candidates in ("all", "0-1", "all"):
        loaded = config(model={"path": "embedded:vit-digits", "candidates": candidates})
        network = load_network(loaded, load_rows(loaded))
        steps(network, {"pixel_values": torch.zeros(1, 1, 8, 8)}, [Workload(((8, None),))])
    assert len(measured) == 2
