"""The same bits wherever tensors begin: no kernel ever sees one that lies as torch would not have put it.

On an AMD EPYC, products of few rows have other last bits where an operand begins 4 or 8 bytes further on. Elsewhere
they may not, so these tests look at what a model computes with besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedstrata.client.handler import Handler
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Request, Train, TrainPlan, Update, Weights
from memory_places import astray, misplace, move_module, moved_rows, shifted, turned, watch
from site_world import Server, content, evaluation, office_in, probe, train
from small_models import save_bert, save_text
from small_runs import after, digits, essence, resume, start
from toys import ToyNet, toy_layers, toy_model, toy_rows
from worker_engines import WEIGHTS, play, workers
from worker_recipes import toy_handler

CLIENT = ClientId("a")
MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "4 bytes on": lambda t: shifted(t, max(4, t.element_size())),
    "8 bytes on": lambda t: shifted(t, 8),
    "16 bytes on": lambda t: shifted(t, 16),
    "columns first": turned,
}


def work(weights: Weights, *clients: str) -> list[Request]:
    plan = TrainPlan(steps=3, epochs=None, batch_size=5, lr=0.1, optimizer="momentum")
    return [
        request
        for client in map(ClientId, clients)
        for request in (
            Probe(client, 0, weights, ProbePlan(2, 3, frozenset(Statistic))),
            Train(client, 0, weights, frozenset({0, 2}), plan),
            Evaluate(client, 0, weights),
        )
    ]


def handled(move: Callable[[Tensor], Tensor]) -> list[str]:
    """Return the contents of all answers of a client whose model, weights and rows lie elsewhere."""
    net, order = ToyNet(dropout=0.2), torch.arange(20)
    move_module(net, move)
    rows = ClientRows(moved_rows(toy_rows(20), move), order[:13], order[13:])
    handler = Handler(ResidentModel(net, toy_layers(net)), {CLIENT: rows}, Seeds(0), eval_batch=3)
    weights = {name: move(tensor) for name, tensor in toy_model(seed=1).weights().items()}
    return contents(handler, work(weights, "a"))


def contents(handler: Handler, requests: Iterable[Request]) -> list[str]:
    return [content(handler.handle(request)) for request in requests]


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_answers_are_the_same_wherever_model_weights_and_rows_lie(
    move: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(monkeypatch)
    assert handled(move) == handled(torch.clone)
    assert watched.passes > 20


def test_a_run_that_is_resumed_computes_with_aligned_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(digits(tmp_path / "whole"))
    watched = watch(monkeypatch)
    start(digits(tmp_path / "run"), stop=after(1))
    seen = watched.passes
    resume(tmp_path / "run")
    assert watched.passes > seen > 0
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")


def test_rows_from_files_and_from_the_cache_are_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSTRATA_CACHE", str(tmp_path / "cache"))
    misplace(save_bert(tmp_path / "bert") / "model.safetensors")
    save_text(tmp_path / "train.csv", 30)
    data = {"train": "train.csv", "test_fraction": 0.2, "text": "note", "label": "outcome"}
    values = digits(tmp_path / "first", model={"path": "bert"})
    values["data"] = {**data, "partition": {"kind": "iid", "clients": 2}}
    watched = watch(monkeypatch)
    start(values, base=tmp_path)
    start({**values, "output": str(tmp_path / "second")}, base=tmp_path)
    assert watched.passes > 0
    assert essence(tmp_path / "first") == essence(tmp_path / "second")


def test_a_site_computes_with_aligned_tensors_wherever_blocks_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    weights = server.moved("vit.layers.2")
    requests: list[Request] = [probe(weights), train(weights), evaluation(weights)]
    whole = [content(server.local(request)) for request in requests]
    watched = watch(monkeypatch)
    sent = server.heads(weights) | server.blobs(["vit.layers.2"], weights)
    for blobs in (sent, {}):  # from messages; then, in an office that was opened anew, from the cache
        office = office_in(tmp_path)
        assert [content(server.read(office.answer(server.work(r), blobs), r)) for r in requests] == whole
    assert watched.passes > 0


def test_what_a_server_receives_is_aligned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server()
    request = train(server.weights)
    answer = office_in(tmp_path).answer(server.work(request), server.heads(server.weights))
    watch(monkeypatch)
    update = server.read(answer, request)
    assert isinstance(update, Update)
    assert not astray(update.deltas.values())


def test_a_workers_model_computes_with_aligned_tensors() -> None:
    weights = {name: shifted(tensor) for name, tensor in WEIGHTS.items()}
    with workers(1, recipe="strict") as engine:
        replies = play(engine, work(weights, "a", "b"))
    assert [content(reply) for reply in replies] == contents(toy_handler(), work(WEIGHTS, "a", "b"))
