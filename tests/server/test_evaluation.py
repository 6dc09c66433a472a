"""Evaluation: sums over rows, not means of means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import Metrics
from fedstrata.runs.state import ServerState
from fedstrata.server.evaluation import Evaluation, evaluate_all
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Evaluate, Evaluated, Failure, Reply, Request, Update
from toys import named

ROWS = {"a": 1, "b": 9, "c": 0}
CORRECT = {"a": 1, "b": 0, "c": 0}


def answer(request: Request) -> Reply:
    assert isinstance(request, Evaluate)
    rows = ROWS[request.client]
    return Evaluated(
        request.client, request.round, loss_sum=float(2 * rows), correct=CORRECT[request.client], num_examples=rows
    )


def test_clients_are_asked_to_be_evaluated_together_as_their_rows_fill_a_pass() -> None:
    seen: dict[str, tuple[str, ...]] = {}

    def script(request: Request) -> Reply:
        assert isinstance(request, Evaluate)
        seen[request.client] = request.together
        return answer(request)

    state, clients = ServerState(0, {}, {}, AggregatorState()), named("a", "b", "c")
    held_out = {ClientId(c): rows for c, rows in ROWS.items()}
    for most, expected in ((10, ("a", "b", "c")), (9, ()), (0, ())):
        evaluate_all(
            state,
            clients,
            engine=ScriptedEngine(script),
            test=lambda _: Metrics(1.0, 0.0, 5),
            held_out=held_out,
            rows_together=most,
        )
        assert seen["a"] == expected


def look(*clients: str, script: Callable[[Request], Reply] = answer, round: int = 0) -> Evaluation:
    state = ServerState(round, {}, {}, AggregatorState())
    engine = ScriptedEngine(script)
    return evaluate_all(state, named(*clients), engine=engine, test=lambda _: Metrics(1.0, 0.0, 5))


def test_held_out_rows_of_all_clients_are_one_set() -> None:
    looked = look("a", "b", "c")
    assert looked.validation == Metrics(accuracy=0.1, loss=2.0, num_examples=10)
    assert looked.client_accuracy == {"a": 1.0, "b": 0.0}
    assert looked.test.accuracy == 1.0


def test_without_held_out_rows_there_is_no_validation() -> None:
    looked = look("c")
    assert looked.validation is None


def test_a_message_of_a_client_that_is_not_asked_is_no_strangers() -> None:
    state = ServerState(0, {}, {}, AggregatorState())
    late = Update(ClientId("c"), 0, frozenset(), {}, 1, 1, 0.0, 0.0, 0.0)
    engine = ScriptedEngine(lambda request: late)
    looked = evaluate_all(
        state, named("a"), engine=engine, test=lambda _: Metrics(1.0, 0.0, 5), population=named("a", "b", "c")
    )
    assert looked.losses == {"LATE": 1, "STALE": 1}


def test_a_client_that_fails_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    def script(request: Request) -> Reply:
        if request.client == "a":
            return Failure(request.client, request.round, "evaluate", Reason.CLIENT_ERROR, "lost")
        return answer(request)

    looked = look("a", "b", script=script, round=2)
    assert looked.client_accuracy == {"b": 0.0}
    assert looked.losses == {"CLIENT_ERROR": 1}
    assert "client a is left out of the evaluation after 2 rounds: lost" in caplog.text
