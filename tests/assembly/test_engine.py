"""The keys ``engine`` and ``workers``, and the handler that a worker makes of a configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fedstrata.assembly.engine import engine_of, usual_workers
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run
from fedstrata.assembly.worker import recipe
from fedstrata.config.load import check_config
from fedstrata.engines.local import LocalEngine
from fedstrata.engines.workers.worker_spec import Recipe
from fedstrata.errors import ConfigError
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Evaluate, Request, Train
from small_runs import digits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedRun:
    """A run on the digits that is ready to start."""
    return prepare_run(check_config(digits(tmp_path_factory.mktemp("engine") / "run")))


def test_local_is_the_default(prepared: PreparedRun) -> None:
    assert isinstance(engine_of(prepared.loaded, prepared.resident, prepared.data), LocalEngine)


@pytest.mark.parametrize("values", [{"workers": 2}, {"engine": "local", "workers": 2}])
def test_workers_need_processes(tmp_path: Path, values: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match="workers: engine: local has no workers; set engine: processes"):
        check_config(digits(tmp_path, **values))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [(["engine=processes", "workers=0"], "workers"), (["engine=threads"], "engine"), (["workers=x"], "workers")],
)
def test_what_is_no_engine_or_no_number_is_an_error(tmp_path: Path, overrides: Sequence[str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^override '{said}="):
        check_config(digits(tmp_path), overrides=overrides)


def test_a_worker_makes_the_handler_of_the_server(prepared: PreparedRun) -> None:
    told = recipe(prepared.loaded)
    theirs = Recipe(told.function, json.loads(json.dumps(told.arguments))).make()
    ours = engine_of(prepared.loaded, prepared.resident, prepared.data)
    weights = {name: tensor.clone() for name, tensor in prepared.weights.items()}
    plan = prepared.setting.train_plan(0)
    requests: list[Request] = [
        *(Train(c, 0, weights, frozenset({1, 4}), plan) for c in prepared.data.clients),
        *(Evaluate(c, 0, weights) for c in prepared.data.clients),
    ]
    for reply, request in zip(ours.send(requests), requests, strict=True):
        assert content_of(reply) == content_of(theirs.handle(request))  # type: ignore[arg-type]


def test_one_worker_per_core_or_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert [usual_workers("cpu", threads) for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert usual_workers("cuda", 1) == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert usual_workers("cuda", 1) == 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an engine of processes would be made with."""
    said: dict[str, Any] = {}
    monkeypatch.setattr("fedstrata.assembly.engine.ProcessEngine", lambda *_, **options: said.update(options))
    return said


@pytest.mark.parametrize(("workers", "expected"), [(None, 3), (1, 1), (7, 7)])
def test_there_are_as_many_workers_as_asked_for_and_else_no_more_than_clients(
    prepared: PreparedRun,
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    expected: int,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    loaded = check_config(digits(tmp_path, engine="processes", workers=workers))
    engine_of(loaded, prepared.resident, prepared.data)
    assert (made["workers"], made["device"]) == (expected, "cpu")
