"""Flower's simulation: what surrounds it; the bits of a whole run are compared in ``tests/e2e/test_flower_runs.py``."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import ModuleType
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from fedstrata.assembly.provenance import resolved
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config
from fedstrata.deploy.flower.host import Place
from fedstrata.deploy.flower.simulation import _quiet, _rays_folder, simulate
from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.errors import ConfigError, TrainingError
from fedstrata.wire.assignment import asked_of
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Evaluate, Failure
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.requests import to_json
from small_runs import digits
from waiting import HANG

NAMES = (ClientId("client-00"), ClientId("client-01"), ClientId("client-02"))


def context(partition: int) -> Context:
    return Context(1, 1, {"partition-id": partition, "num-partitions": 3}, RecordDict(), {})


def place(folder: Path) -> Place:
    return Place(str(folder), resolved(check_config(digits(folder / "run"))), NAMES, str(folder / "states"))


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
    without_ray_settings(monkeypatch)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedstrata\[simulation\]'"):
        simulate(run, lambda engine: None)


def without_ray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the environment says of Ray's services, until the test ends."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_ray_takes_calls_with_a_token_alone_and_lies_in_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    run = prepare_run(check_config(digits(tmp_path / "run")))
    without_ray_settings(monkeypatch)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "ray.py").write_text("import os\nMODE = os.environ.get('RAY_AUTH_MODE')\n")
    monkeypatch.syspath_prepend(tmp_path / "stub")
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delitem(sys.modules, "ray")

    def run_simulation(server: object, client: object, count: int, *, backend_config: dict[str, Any]) -> None:
        seen.update(os.environ, folder=backend_config["init_args"]["_temp_dir"])
        seen["mode"] = stat.S_IMODE(Path(seen["folder"]).parent.stat().st_mode)

    flower = ModuleType("flwr.simulation")
    flower.run_simulation = run_simulation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flwr.simulation", flower)
    with pytest.raises(TrainingError, match="ended before the run did"):
        simulate(run, lambda engine: None)
    assert sys.modules["ray"].MODE == "token"  # Ray reads it when it is imported
    assert (seen["RAY_AUTH_MODE"], len(seen["RAY_AUTH_TOKEN"])) == ("token", 64)
    assert seen["mode"] == 0o700
    assert not Path(seen["folder"]).parent.exists()
    token = seen["RAY_AUTH_TOKEN"]
    with pytest.raises(TrainingError):
        simulate(run, lambda engine: None)
    assert seen["RAY_AUTH_TOKEN"] == token  # Ray keeps the one that it was imported with


def test_a_simulation_that_does_not_start_leaves_no_thread_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoNodes:
        def __init__(self) -> None:
            self.asked = Event()

        def get_node_ids(self) -> list[int]:
            self.asked.set()
            return []

    threads: list[Thread] = []

    def run_simulation(server: Callable[..., object], *_: object, **__: object) -> None:
        grid = NoNodes()

        def play() -> None:
            with suppress(TrainingError):
                server(grid, context(0))

        threads.append(Thread(target=play, daemon=True))
        threads[0].start()
        assert grid.asked.wait(HANG)
        raise RuntimeError("Ray does not start")

    monkeypatch.setattr("fedstrata.deploy.flower.simulation._run_simulation", lambda: run_simulation)
    monkeypatch.setattr("fedstrata.deploy.flower.simulation._START_TIMEOUT", 2 * HANG)
    with pytest.raises(TrainingError, match="simulation broke down: Ray does not start"):
        simulate(prepare_run(check_config(digits(tmp_path / "run"))), lambda engine: None)
    threads[0].join(HANG)
    assert not threads[0].is_alive()


def test_ray_that_was_imported_open_to_everybody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare_run(check_config(digits(tmp_path / "run")))
    without_ray_settings(monkeypatch)
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(ConfigError, match="set RAY_AUTH_MODE=token before Python starts"):
        simulate(run, lambda engine: None)


def test_a_temporary_folder_of_a_long_path_is_none_for_ray_s_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with _rays_folder() as folder:
        assert Path(folder).parent.parent == Path("/tmp")


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
