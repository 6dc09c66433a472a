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
from fedstrata.sweeping.jobs import Job, load_sweep
from fedstrata.sweeping.observers import Quiet as SweepQuiet
from fedstrata.sweeping.run import LOGS, play_sweep
from fedstrata.sweeping.single import name_of, play_single
from fedstrata.wire.messages import Frame, Reply, Request, Train
from flower_deployment import model_bits
from ray_clusters import TwoNodes, two_nodes
from small_runs import digits, never
from sweep_files import sweep_file, two_clients
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
        return bool(self.inner.ready(0.1) == 2)  # type: ignore[attr-defined]

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
    put = inner.bytes_put  # type: ignore[attr-defined]
    assert put < 3 * sum(sizes)  # once, and what two rounds changed


class Killing:
    """Kills the other node once both runs have done a round, and remembers which runs were left and which failed."""

    def __init__(self, cluster: TwoNodes) -> None:
        self.cluster, self.reached, self.killed = cluster, dict[int, int](), False
        self.left: list[str] = []
        self.failed: list[str] = []

    def rounds_done(self, worker: int, job: Job, rounds: int) -> None:
        self.reached[job.seed] = rounds
        if not self.killed and len(self.reached) == 2 and min(self.reached.values()) >= 1:
            self.cluster.kill_other()
            self.killed = True

    def run_left(self, worker: int, job: Job, why: str) -> None:
        self.left.append(why)

    def run_failed(self, worker: int, job: Job, reason: str) -> None:
        self.failed.append(reason)


def test_a_run_of_a_sweep_goes_on_elsewhere_when_its_node_dies(cluster: TwoNodes, tmp_path: Path) -> None:
    cluster.start_other()
    cells = {"methods": {"top": {"set": {"selector": "top", "train.rounds": 30}}}}
    sweep = load_sweep(sweep_file(tmp_path, **cells), clients=two_clients)
    heard = Killing(cluster)
    observer = SweepQuiet(rounds_done=heard.rounds_done, run_left=heard.run_left, run_failed=heard.run_failed)
    result = play_sweep(sweep, workers=2, cluster=cluster.address, observer=observer)
    assert heard.failed == []
    assert (heard.killed, len(heard.left)) == (True, 1)
    assert "another goes on with it" in heard.left[0]
    assert [(o.method, o.seed) for o in result.outcomes] == [("top", 0), ("top", 1)]
    assert not [file for file in (sweep.output / LOGS).iterdir() if file.suffix != ".log"]
    here = load_sweep(sweep_file(tmp_path, **cells), output=tmp_path / "here", clients=two_clients)
    for job in here.jobs:
        name = name_of(here, job)
        play_single(here, name)
        assert model_bits(tmp_path / "here" / name) == model_bits(tmp_path / "out" / name)
