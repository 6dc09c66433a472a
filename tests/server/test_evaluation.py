"""Evaluation: sums over rows, not means of means."""

from __future__ import annotations

import pytest

from fedstrata.domain.messages import Evaluate, Evaluated, Failure, Reply, Request
from fedstrata.domain.records import Metrics
from fedstrata.engines.scripted import ScriptedEngine
from fedstrata.server.evaluation import evaluate_all
from toys import named

ROWS = {"a": 1, "b": 9, "c": 0}
CORRECT = {"a": 1, "b": 0, "c": 0}


def answer(request: Request) -> Reply:
    assert isinstance(request, Evaluate)
    rows = ROWS[request.client]
    return Evaluated(
        request.client, request.round, loss_sum=float(2 * rows), correct=CORRECT[request.client], num_examples=rows
    )


def test_held_out_rows_of_all_clients_are_one_set() -> None:
    looked = evaluate_all(
        {}, round=0, clients=named("a", "b", "c"), engine=ScriptedEngine(answer), test=lambda _: Metrics(1.0, 0.0, 5)
    )
    assert looked.validation == Metrics(accuracy=0.1, loss=2.0, num_examples=10)
    assert looked.client_accuracy == {"a": 1.0, "b": 0.0}
    assert looked.test.accuracy == 1.0


def test_without_held_out_rows_there_is_no_validation() -> None:
    looked = evaluate_all(
        {}, round=0, clients=named("c"), engine=ScriptedEngine(answer), test=lambda _: Metrics(1.0, 0.0, 5)
    )
    assert looked.validation is None


def test_a_client_that_fails_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    def script(request: Request) -> Reply:
        if request.client == "a":
            return Failure(request.client, request.round, "evaluate", "CLIENT_ERROR", "lost")
        return answer(request)

    looked = evaluate_all(
        {}, round=2, clients=named("a", "b"), engine=ScriptedEngine(script), test=lambda _: Metrics(1.0, 0.0, 5)
    )
    assert looked.client_accuracy == {"b": 0.0}
    assert "client a is left out of the evaluation after 2 rounds: lost" in caplog.text
