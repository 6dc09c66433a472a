"""Flower's simulation: what surrounds it; the bits of a whole run are compared in ``tests/e2e/test_flower_runs.py``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedstrata.config.build import prepare_run
from fedstrata.config.load import check_config
from fedstrata.config.provenance import resolved
from fedstrata.domain.ids import ClientId
from fedstrata.domain.messages import Evaluate, Failure
from fedstrata.domain.sites import Declaration
from fedstrata.engines.asked import asked_of
from fedstrata.engines.codec import decode
from fedstrata.engines.digests import manifest_of
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.workers.requests import to_json
from fedstrata.errors import ConfigError
from fedstrata.flower.host import Place
from fedstrata.flower.simulation import _quiet, simulate
from small_runs import digits

NAMES = (ClientId("client-00"), ClientId("client-01"), ClientId("client-02"))


def context(partition: int) -> Context:
    return Context(1, 1, {"partition-id": partition, "num-partitions": 3}, RecordDict(), {})


def place(folder: Path) -> Place:
    return Place(str(folder), resolved(check_config(digits(folder / "run"))), NAMES)


def test_an_actor_is_whichever_client_a_message_is_for(tmp_path: Path) -> None:
    here = place(tmp_path)
    for partition, name in enumerate(NAMES):
        assert here.serve(Envelope({"kind": "who"}, {}), context(partition)).said["partition"] == partition
        said = here.serve(Envelope({"kind": "join"}, {}), context(partition)).said
        word = Declaration.from_json({k: v for k, v in said.items() if k != "kind"})
        assert word.num_examples == len(prepare_run(check_config(digits(tmp_path / name))).data.clients[name].train)


def test_an_actor_that_lacks_layers_says_which_and_works_once_it_has_them(tmp_path: Path) -> None:
    from safetensors.torch import save

    here = place(tmp_path)
    run = prepare_run(check_config(digits(tmp_path / "run")))
    layers, weights = run.resident.layers, run.weights
    request = Evaluate(NAMES[1], 0, weights)
    said = {"kind": "work", "request": to_json(request), "manifest": manifest_of(layers.trainable, weights)}
    answer = here.serve(Envelope(said, {}), context(1))
    heads = [block.name for block in layers.always]
    assert (answer.said["kind"], sorted(answer.said["blocks"])) == ("missing", sorted(heads))
    blobs = {str(b.name): save({str(n): weights[n].contiguous() for n in b.tensor_names}) for b in layers.always}
    answer = here.serve(Envelope(said, blobs), context(1))
    reply = decode(b"".join(answer.blobs.values()), asked_of(request, layers))
    assert not isinstance(reply, Failure)
    assert reply.client == NAMES[1]  # type: ignore[union-attr]


def test_without_ray_the_advice_is_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare_run(check_config(digits(tmp_path / "run")))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedstrata\[simulation\]'"):
        simulate(run, lambda engine: None)


def test_warnings_of_flower_are_heard_and_its_insides_are_not(caplog: pytest.LogCaptureFixture) -> None:
    flower = logging.getLogger("flwr")
    with caplog.at_level(logging.DEBUG, logger="flwr"), _quiet():
        flower.debug("Registered 4 nodes")
        flower.warning("DEPRECATED FEATURE: run_simulation")
        flower.warning("a node is gone")
    assert [r.getMessage() for r in caplog.records] == ["a node is gone"]
    with caplog.at_level(logging.DEBUG, logger="flwr"):
        flower.debug("heard again")
    assert caplog.records[-1].getMessage() == "heard again"
