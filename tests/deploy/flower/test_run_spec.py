"""The run specification: everything that a site needs of a run, nothing that is the server's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import RecordDict

from fedstrata.config.load import check_config
from fedstrata.config.schema import AdapterSection
from fedstrata.deploy.flower.run_spec import run_spec
from fedstrata.deploy.site.run_spec import RunSpec, read_run_spec
from fedstrata.engines.flower.envelope import Envelope, enclose, opened

DATA: dict[str, dict[str, Any]] = {
    "digits": {"kind": "digits", "held_out": 0.25, "partition": {"kind": "iid", "clients": 2}},
    "files": {
        "train": "/secret/train.csv",
        "test": "/secret/test.csv",
        "text": "note",
        "held_out": 0.25,
        "max_length": 64,
        "partition": {"kind": "iid", "clients": 2},
    },
    "remote": {"kind": "remote", "test": "/secret/test.csv", "image": "photo", "held_out": 0.25, "image_size": 32},
}


def said(data: str = "digits", **values: Any) -> dict[str, Any]:  # noqa: ANN401  any section of a configuration
    config = {"model": {"path": "embedded:vit-digits"}, "data": DATA[data], "selector": "top", "budget": 1, **values}
    if data == "remote":
        config |= {"engine": "flower", "flower": {"sites": "/secret/keys"}}
    return run_spec(check_config(config, base=Path("/secret")), ["no", "yes", "höher"])


@pytest.mark.parametrize("data", DATA)
def test_a_site_understands_every_briefing(data: str) -> None:
    read = read_run_spec(said(data, seed=7, threads=3))
    assert (read.seed, read.threads, read.labels) == (7, 3, ("no", "yes", "höher"))
    assert read.data.held_out == 0.25
    assert read.model.path == "embedded:vit-digits"


def test_a_briefing_says_what_a_site_reads_and_nothing_else() -> None:
    assert set(said()) == set(RunSpec.model_fields)


def test_lengths_and_sizes_are_those_of_the_run() -> None:
    assert said("files")["data"] == {"held_out": 0.25, "max_length": 64, "image_size": None}
    assert said("remote")["data"] == {"held_out": 0.25, "max_length": 128, "image_size": 32}
    assert said("digits")["data"] == {"held_out": 0.25}


@pytest.mark.parametrize("data", DATA)
def test_no_path_of_the_servers_data_or_keys_is_in_it(data: str) -> None:
    assert "secret" not in json.dumps(said(data))


def test_the_model_is_described_whole() -> None:
    model = {"path": "models/vit", "head": "new", "always": ["norm"], "never": ["embeddings"], "candidates": "last 4"}
    read = read_run_spec(said(model=model)).model
    assert (read.path, read.head, read.never) == ("models/vit", "new", ("embeddings",))


def test_halves_and_adapter_are_in_it() -> None:
    model = {"path": "models/vit", "units": "halves", "adapter": {"kind": "lora", "rank": 4, "targets": ["query"]}}
    read = read_run_spec(json.loads(json.dumps(said(model=model)))).model
    assert (read.units, read.adapter) == ("halves", AdapterSection(kind="lora", rank=4, targets=("query",)))


def test_how_sites_evaluate_and_train_is_in_it() -> None:
    read = read_run_spec(said(evaluate={"batch_size": 17}, train={"precision": "fp32"}))
    assert (read.evaluate.batch_size, read.train.precision) == (17, "fp32")


def test_a_briefing_is_the_same_whenever_it_is_made_and_survives_its_journey() -> None:
    first = said("files")
    assert json.dumps(first) == json.dumps(said("files"))
    content: RecordDict = enclose(Envelope({"run_spec": first}, {}))
    assert opened(content).said["run_spec"] == first
