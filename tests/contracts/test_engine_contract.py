"""What every engine owes its callers. A new engine joins ``ENGINES`` and is held to all of this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from fedstrata.client.handler import Handler
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.stats import Statistic
from fedstrata.engines.local import LocalEngine, answer, received
from fedstrata.engines.protocol import ClientHandler, Engine
from fedstrata.errors import ClientError
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import (
    Evaluate,
    Evaluated,
    Failure,
    Probe,
    Probed,
    ProbePlan,
    Reply,
    Request,
    Train,
    TrainPlan,
    Update,
    Weights,
)
from toys import named, same_bits, toy_clients, toy_model

SIZES = {"a": 12, "b": 6, "c": 9}


def scripted(handler: ClientHandler) -> Engine:
    """A script that does what a careful client process would: failures become values."""
    return ScriptedEngine(lambda request: received(request, answer(handler, request)))


ENGINES: dict[str, Callable[[ClientHandler], Engine]] = {"local": LocalEngine, "scripted": scripted}
EVERY = pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)


@dataclass(frozen=True, slots=True)
class Fragile:
    """Handles requests, except those of the clients that it breaks for."""

    inner: ClientHandler
    breaks: dict[str, Exception]
    handled: list[str] = field(default_factory=list)

    def handle(self, request: Request) -> Reply:
        self.handled.append(request.client)
        if request.client in self.breaks:
            raise self.breaks[request.client]
        return self.inner.handle(request)


def handler() -> Handler:
    return Handler(toy_model(dropout=0.2), toy_clients(SIZES, held_out=2), Seeds(0))


def weights() -> Weights:
    return toy_model(dropout=0.2).weights()


def trains(*clients: str) -> list[Request]:
    plan = TrainPlan(steps=2, epochs=None, batch_size=4, lr=0.1)
    return [Train(c, 0, weights(), frozenset({1}), plan) for c in named(*clients)]


@EVERY
def test_one_reply_per_request_in_order(make: Callable[[ClientHandler], Engine]) -> None:
    replies = list(make(handler()).send(trains("c", "a", "b", "a")))
    assert [r.client for r in replies] == ["c", "a", "b", "a"]
    assert all(isinstance(r, Update) for r in replies)


@EVERY
def test_every_kind_of_request_is_answered_in_kind(make: Callable[[ClientHandler], Engine]) -> None:
    (client,) = named("a")
    requests: list[Request] = [
        Probe(client, 0, weights(), ProbePlan(0, 8)),
        *trains("a"),
        Evaluate(client, 0, weights()),
    ]
    assert [type(r) for r in make(handler()).send(requests)] == [Probed, Update, Evaluated]


@EVERY
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClientError("diverged", reason="NONFINITE"), "NONFINITE"),
        (KeyError("x"), "CLIENT_ERROR"),
        (MemoryError(), "CLIENT_ERROR"),
    ],
    ids=["client", "bug", "memory"],
)
def test_a_client_that_raises_is_a_failure_and_the_others_finish(
    make: Callable[[ClientHandler], Engine], error: Exception, reason: str
) -> None:
    replies = list(make(Fragile(handler(), {"b": error})).send(trains("a", "b", "c")))
    assert [type(r) for r in replies] == [Update, Failure, Update]
    failure = replies[1]
    assert isinstance(failure, Failure)
    assert (failure.client, failure.phase, failure.reason) == ("b", "train", reason)


@EVERY
def test_a_failure_leaves_no_trace_in_the_others(make: Callable[[ClientHandler], Engine]) -> None:
    broken = list(make(Fragile(handler(), {"b": KeyError("x")})).send(trains("a", "b", "c")))
    fine = list(make(handler()).send(trains("a", "b", "c")))
    for got, expected in ((broken[0], fine[0]), (broken[2], fine[2])):
        assert isinstance(got, Update)
        assert isinstance(expected, Update)
        assert same_bits(got.deltas, expected.deltas)


@EVERY
def test_a_client_without_data_is_a_failure(make: Callable[[ClientHandler], Engine]) -> None:
    (reply,) = make(handler()).send(trains("nobody"))
    assert isinstance(reply, Failure)
    assert "no data for client nobody" in reply.message


@EVERY
def test_the_bits_are_those_of_the_local_engine(make: Callable[[ClientHandler], Engine]) -> None:
    ours, reference = make(handler()).send(trains(*SIZES)), LocalEngine(handler()).send(trains(*SIZES))
    for got, expected in zip(ours, reference, strict=True):
        assert isinstance(got, Update)
        assert isinstance(expected, Update)
        assert same_bits(got.deltas, expected.deltas)
        assert (got.loss_first, got.loss_mean, got.steps) == (
            expected.loss_first, expected.loss_mean, expected.steps
        )  # fmt: skip


@EVERY
def test_what_is_piggybacked_on_an_update_has_the_bits_of_a_probe_of_the_next_round(
    make: Callable[[ClientHandler], Engine],
) -> None:
    measured = ProbePlan(0, 4, frozenset(Statistic))
    laden = [replace(request, probe=measured) for request in trains(*SIZES)]  # type: ignore[arg-type]
    fresh = LocalEngine(handler()).send([Probe(c, 1, weights(), measured) for c in named(*SIZES)])
    for got, bare, probed in zip(make(handler()).send(laden), make(handler()).send(trains(*SIZES)), fresh, strict=True):
        assert isinstance(got, Update)
        assert isinstance(bare, Update)
        assert isinstance(probed, Probed)
        assert got.piggybacked is not None
        assert content_of(got.piggybacked) == content_of(probed)
        assert (got.piggybacked.client, got.piggybacked.round) == (probed.client, 0)
        assert content_of(replace(got, piggybacked=None)) == content_of(bare)


@EVERY
def test_no_request_no_reply(make: Callable[[ClientHandler], Engine]) -> None:
    assert list(make(handler()).send([])) == []


@EVERY
def test_requests_are_drawn_as_they_are_worked_on(make: Callable[[ClientHandler], Engine]) -> None:
    """An engine never holds more requests than it works on; here that is one at a time."""
    drawn: list[str] = []

    def requests() -> Iterator[Request]:
        for request in trains(*SIZES):
            drawn.append(request.client)
            yield request

    replies = make(handler()).send(requests())
    next(replies)
    assert len(drawn) <= 2


@EVERY
def test_an_interruption_is_not_swallowed(make: Callable[[ClientHandler], Engine]) -> None:
    class Interrupted:
        def handle(self, request: Request) -> Reply:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make(Interrupted()).send(trains("a")))
