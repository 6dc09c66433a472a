"""The rows of the evaluation: every sweep's file is sound, and its methods differ in nothing that they should share."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fedstrata.sweeping.jobs import Job, Sweep, load_sweep

HERE = Path(__file__).parents[1] / "experiments"
FILES = sorted(HERE.glob("*/*.yaml"))
BASELINES = {
    *("head only", "full", "top", "bottom", "both", "random", "lisa", "cyclic", "snr", "snr + consensus"),
    *("rgn", "rgn + consensus", "independent", "common", "consensus", "diversity", "bound", "lora (bytes)"),
    *("local-only", "knob", "layer"),
}
"""What every row compares; the last two are grids."""
OWN = ("name", "output", "selector", "score", "budget")
"""What a method may have of its own, besides the adapter and, at equal operations, the rows of its steps."""


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}-{path.stem}", scope="module")
def sweep(request: pytest.FixtureRequest) -> Sweep:
    """A row's sweep, with a model that is in the repository in the place of one that need not be there."""
    overrides = ["model.path=models/vit-tiny-imagenet32"]  # the folder is looked for, not read
    return load_sweep(request.param, overrides=overrides, clients=lambda _: ("one", "two"))


def shared(job: Job) -> dict[str, Any]:
    """Return what a run has in common with the others of its seed."""
    values = deepcopy(job.values)
    for key in OWN:
        del values[key]
    values["model"].pop("adapter", None)
    if job.cell.method == "lora (flops)":
        del values["train"]["batch_size"]
    if job.client is not None:
        del values["sampler"]
    return values


def test_every_row_compares_all_methods_under_equal_and_unequal_budgets(sweep: Sweep) -> None:
    assert {job.cell.family for job in sweep.jobs} - {"lora (flops)"} == BASELINES
    assert {job.cell.budget for job in sweep.jobs} == {"R1", "R2", "half-normal"}
    assert len(sweep.seeds) == 6
    assert sweep.row == sweep.file.stem
    assert sweep.size == sweep.file.parent.name


def test_methods_of_a_row_see_the_same_rows_cohorts_and_batches(sweep: Sweep) -> None:
    for seed in sweep.seeds:
        first, *others = (shared(job) for job in sweep.jobs if job.seed == seed)
        for values in others:
            train = {key: first["train"][key] for key in values["train"]}
            assert values == {**{key: first[key] for key in values}, "train": train}


def test_the_oracle_has_every_single_layer(sweep: Sweep) -> None:
    layers = {job.values["selector"]["inner"]["layers"] for job in sweep.jobs if job.cell.family == "layer"}
    assert layers == {str(number) for number in range(len(layers))}


def test_every_row_is_there_in_both_sizes() -> None:
    sizes = {size: {path.stem for path in FILES if path.parent.name == size} for size in ("small", "full")}
    assert sizes["small"] == sizes["full"] == {path.stem for path in HERE.glob("*.yaml")} - {"methods", "trainers"}
