"""Runs and sweeps over two Ray nodes of one core each, one of which is killed: the bits of one process."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run
from fedstrata.client.state_store import StateStore
from fedstrata.config.load import check_config
from fedstrata.engines.clock import Clock, Deadline
from fedstrata.engines.protocol import Engine
from fedstrata.server.observers import Quiet
from fedstrata.wire.messages import Frame, Reply, Request, Train
from flower_deployment import model_bits
from ray_clusters import TwoNodes, two_nodes
from small_runs import digits, never
from waiting import until

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    with two_nodes() as made:
        yield made


class Losing:
    """An engine whose other node is killed when the first training is about to go out."""

    def __init__(self, inner: Engine, cluster: TwoNodes) -> None:
        self.inner, self.cluster, self.killed = inner, cluster, False
        self.clock: Clock = inner.clock
        self.repeatable = inner.repeatable

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        asked = list(requests)
        if not self.killed and any(isinstance(request, Train) for request in asked):
            until(self.both_ready, why="an actor on each node")
            self.cluster.kill_other()
            self.killed = True
        return self.inner.send(asked, deadline=deadline)

    def both_ready(self) -> bool:
        self.inner._seats.wait(0.1)  # type: ignore[attr-defined]
        return len(self.inner.nodes) == 2  # type: ignore[attr-defined]

    def close(self) -> None:
        self.inner.close()


def test_a_run_has_the_bits_of_one_process_though_a_node_dies_at_work(
    cluster: TwoNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    partition = {"kind": "iid", "clients": 4}
    values = digits(tmp_path / "ray", engine="ray", ray={"cluster": cluster.address})
    values["data"]["partition"] = partition
    run = prepare_run(check_config(values))
    inner = engine_of(run.loaded, run.resident, run.data, StateStore(run.folder.client_states))
    engine = Losing(inner, cluster)
    with caplog.at_level(logging.WARNING):
        finish(run, run.run(observer=Quiet(), stop=never, engine=engine).start(run.weights))
    assert "has ended at work for client" in caplog.text
    here = {**values, "engine": "local", "output": str(tmp_path / "local")}
    local = prepare_run(check_config(here))
    finish(local, local.run(observer=Quiet(), stop=never).start(local.weights))
    assert model_bits(tmp_path / "ray") == model_bits(tmp_path / "local")
    sizes = [spec.elements * 4 for block in run.resident.layers.trainable for spec in block.tensors]
    assert inner.bytes_put < 3 * sum(sizes)  # type: ignore[attr-defined]  once, and what two rounds changed
