"""The embedded engine: one reply per request, in order, failures as values."""

from __future__ import annotations

from collections.abc import Iterator

from fedstrata.client.handler import Handler
from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.domain.seeds import Seeds
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.engines.local import LocalEngine
from fedstrata.errors import ClientError
from fedstrata.wire.messages import (
    Evaluate,
    Evaluated,
    Failure,
    Probe,
    ProbePlan,
    Reply,
    Request,
    Train,
    TrainPlan,
    Update,
)
from toys import same_bits, toy_clients, toy_model

X, Y = ClientId("x"), ClientId("y")
PLAN = TrainPlan(steps=1, epochs=None, batch_size=4, lr=0.1)


class Moody:
    """Fails on demand."""

    def handle(self, request: Request) -> Reply:
        if request.client == X:
            raise ClientError("no disk", reason="DISK")
        if request.client == Y:
            raise ZeroDivisionError("oops")
        return Evaluated(request.client, request.round, 0.0, 1, 1)


def test_what_a_client_raises_is_a_failure_and_the_others_finish() -> None:
    requests = [Evaluate(c, 3, {}) for c in (X, Y, ClientId("z"))]
    first, second, third = LocalEngine(Moody()).send(requests)
    assert first == Failure(X, 3, "evaluate", Reason.CLIENT_ERROR, "DISK: no disk")
    assert isinstance(second, Failure)
    assert (second.client, second.round, second.phase, second.reason) == (Y, 3, "evaluate", Reason.CLIENT_ERROR)
    assert second.message.startswith("ZeroDivisionError: oops; it was raised in your own code: Moody.handle (")
    assert isinstance(third, Evaluated)


def test_failures_name_their_phase() -> None:
    requests: list[Request] = [Probe(X, 0, {}, ProbePlan()), Train(X, 0, {}, frozenset(), PLAN), Evaluate(X, 0, {})]
    assert [r.phase for r in LocalEngine(Moody()).send(requests) if isinstance(r, Failure)] == [
        "probe",
        "train",
        "evaluate",
    ]


def test_requests_are_drawn_one_by_one() -> None:
    drawn: list[int] = []

    def requests() -> Iterator[Request]:
        for i in range(3):
            drawn.append(i)
            yield Evaluate(ClientId("z"), i, {})

    replies = LocalEngine(Moody()).send(requests())
    next(replies)
    assert drawn == [0]


def test_a_request_after_the_deadline_is_late() -> None:
    clock = VirtualClock()
    deadline = Deadline.after(10.0, clock)
    clock.advance_to(11.0)
    (reply,) = LocalEngine(Moody(), clock).send([Evaluate(ClientId("z"), 0, {})], deadline=deadline)
    assert isinstance(reply, Failure)
    assert reply.reason == "LATE"


def test_a_client_that_is_not_here_is_a_failure_with_a_hint() -> None:
    model = toy_model()
    engine = LocalEngine(Handler(model, toy_clients({"alpha": 4}), Seeds(0)))
    (reply,) = engine.send([Train(ClientId("alpa"), 0, model.weights(), frozenset(), PLAN)])
    assert isinstance(reply, Failure)
    assert "did you mean 'alpha'" in reply.message


def test_one_client_does_not_change_the_next() -> None:
    """The released code left gradients behind after scoring; they leaked into the next client's update."""
    clients = toy_clients({"x": 8, "y": 8})

    def update_of_y(*before: Request) -> Update:
        model = toy_model(dropout=0.3)
        engine = LocalEngine(Handler(model, clients, Seeds(0)))
        weights = model.weights()
        requests: list[Request] = [*before, Train(Y, 0, weights, frozenset({1}), PLAN)]
        reply = list(engine.send(requests))[-1]
        assert isinstance(reply, Update)
        return reply

    start = toy_model(dropout=0.3).weights()
    alone = update_of_y()
    after_others = update_of_y(
        Probe(X, 0, start, ProbePlan()), Train(X, 0, start, frozenset({0, 1, 2}), PLAN), Probe(Y, 0, start, ProbePlan())
    )
    assert same_bits(alone.deltas, after_others.deltas)
