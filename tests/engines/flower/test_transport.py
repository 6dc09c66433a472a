"""Messages out and in: what counts as an answer, and what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

import httpx
import pytest
from flwr.app import ConfigRecord, Message
from flwr.app.error import Error

from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.roster import Node
from fedstrata.engines.flower.transport import Lost, Sent, Transport
from flower_grid import FakeGrid, FakeNode, Forge, key_of
from toys import named

A, B = named("a", "b")
NODES: Mapping[ClientId, Node] = {A: Node(1), B: Node(2)}


def echo(envelope: Envelope) -> Envelope:
    return Envelope({"kind": "echo", "of": envelope.said["kind"]}, dict(reversed(list(envelope.blobs.items()))))


def grid(forge: Forge = lambda message, reply: reply) -> FakeGrid:
    return FakeGrid({1: FakeNode(key_of("a"), echo), 2: FakeNode(key_of("b"), echo)}, forge)


def send(transport: Transport, client: ClientId = A, **blobs: bytes) -> bool:
    return transport.send(client, NODES[client], "query.join", Envelope({"kind": "x"}, blobs), ttl=60.0)


def answered(forge: Forge) -> Envelope | Lost:
    """What comes back where Flower hands over something else than the true answer."""
    transport = Transport(grid(forge))
    assert send(transport)
    ((sent, answer),) = transport.receive()
    assert sent.client == A
    assert transport.waiting == frozenset()
    return answer


def lost(forge: Forge) -> Lost:
    answer = answered(forge)
    assert isinstance(answer, Lost)
    return answer


def test_an_answer_comes_with_what_it_answers() -> None:
    transport = Transport(grid())
    assert send(transport, A, x=b"12", y=b"3")
    ((sent, answer),) = transport.receive()
    assert (sent.client, sent.node, sent.bytes) == (A, Node(1), 3)
    assert isinstance(answer, Envelope)
    assert answer.said == {"kind": "echo", "of": "x", "nonce": sent.nonce}
    assert list(answer.blobs.items()) == [("y", b"3"), ("x", b"12")]


def test_a_message_is_of_the_kind_and_for_the_node_and_the_time_that_it_was_sent_with() -> None:
    flower = grid()
    transport = Transport(flower)
    send(transport, B)
    transport.send(A, Node(1), "train.layers", Envelope({}, {}), ttl=None)
    timed, endless = (message.metadata for message in flower.pushed)
    assert (timed.dst_node_id, timed.message_type, timed.ttl) == (2, "query.join", 60.0)
    assert (endless.message_type, endless.ttl) == ("train.layers", 12 * 3600.0)


def test_answers_are_awaited_until_they_come() -> None:
    flower = grid()
    transport = Transport(flower)
    flower.held = {1}
    send(transport, A)
    send(transport, B)
    assert [sent.client for sent, _ in transport.receive()] == [B]
    assert transport.waiting == {A}
    flower.held.clear()
    assert [sent.client for sent, _ in transport.receive()] == [A]
    assert list(transport.receive()) == []


def test_several_messages_to_one_client_are_told_apart() -> None:
    flower = grid()
    transport = Transport(flower)
    for _ in range(2):
        send(transport, A)
    first, second = transport.sent_to(A)
    assert first.nonce != second.nonce
    assert [
        (sent.nonce, answer.said["nonce"]) for sent, answer in transport.receive() if isinstance(answer, Envelope)
    ] == [
        (first.nonce, first.nonce),
        (second.nonce, second.nonce),
    ]
    assert transport.sent_to(A) == ()


def test_what_a_message_says_is_not_changed_by_sending_it() -> None:
    said = {"kind": "x", "nonce": "mine"}
    transport = Transport(grid())
    assert transport.send(A, Node(1), "evaluate", Envelope(said, {}), ttl=None)
    assert said == {"kind": "x", "nonce": "mine"}
    assert transport.sent_to(A)[0].nonce != "mine"


def test_answers_to_what_was_forgotten_are_not_fetched() -> None:
    flower = grid()
    transport = Transport(flower)
    send(transport, A)
    transport.forget()
    assert list(transport.receive()) == []
    assert flower.answered == {}


@pytest.mark.parametrize("numbers", [[], [None], [""]])
def test_a_message_that_flower_does_not_take_is_not_awaited(
    numbers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flower = grid()
    monkeypatch.setattr(flower, "push_messages", lambda messages: numbers)
    transport = Transport(flower)
    assert not send(transport)
    assert transport.waiting == frozenset()


@pytest.mark.parametrize(
    ("code", "again"), [(0, False), (1, False), (2, False), (3, True), (4, True), (5, True), (8, False)]
)
def test_who_was_not_there_may_be_asked_again_and_who_failed_may_not(code: int, again: bool) -> None:
    got = lost(lambda message, reply: Message(Error(code, "gone\nfor ever"), reply_to=message))
    assert got == Lost(f"Flower reports error {code}: gone for ever", again)


def test_an_error_without_a_reason_is_a_sentence_too() -> None:
    got = lost(lambda message, reply: Message(Error(2), reply_to=message))
    assert got.why == "Flower reports error 2: no reason given"


def over_another_node(message: Message, reply: Message) -> Message:
    reply.metadata.__dict__["_src_node_id"] = 2
    return reply


def with_nonce(value: Any) -> Forge:  # noqa: ANN401  anything that another machine says
    def forge(message: Message, reply: Message) -> Message:
        record = reply.content.config_records["fedstrata"]
        said = json.loads(record["json"])  # type: ignore[arg-type]
        reply.content["fedstrata"] = ConfigRecord({"json": json.dumps({**said, "nonce": value}).encode()})
        return reply

    return forge


def test_an_answer_over_another_connection_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    assert lost(over_another_node) == Lost("the answer came over another site's connection", again=True)
    assert "connection of another site" in caplog.text


@pytest.mark.parametrize("nonce", ["", "0" * 32, "é" * 16, None, 7, [], {"a": 1}])
def test_an_answer_that_does_not_repeat_the_nonce_does_not_count(
    nonce: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert lost(with_nonce(nonce)) == Lost("the answer belongs to another message", again=True)
    assert "does not repeat" in caplog.text


def test_an_answer_with_half_a_character_ends_no_run() -> None:
    got = lost(with_nonce("\ud800"))
    assert "not one of fedstrata's" in got.why
    assert not got.again


def test_an_answer_that_is_not_ours_is_lost_with_the_reason() -> None:
    def forge(message: Message, reply: Message) -> Message:
        del reply.content["fedstrata"]
        return reply

    assert "not one of fedstrata's" in lost(forge).why


class Loud(FakeGrid):
    """Hands over every answer twice, and one to a message that nobody sent."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:  # type: ignore[override]
        for message in super().pull_messages(message_ids):
            stray = Message(Error(2), reply_to=message)
            yield from (message, message, stray)


def test_an_answer_that_comes_twice_counts_once_and_one_to_nothing_never() -> None:
    transport = Transport(Loud({1: FakeNode(key_of("a"), echo)}))
    send(transport)
    assert len(list(transport.receive())) == 1


def test_a_sent_message_is_known_by_its_time() -> None:
    transport = Transport(grid())
    send(transport)
    (sent,) = transport.sent_to(A)
    assert isinstance(sent, Sent)
    assert 0 < sent.at < inf


class BrokenGrid(FakeGrid):
    """Cannot put together what one node answers, as when its objects are not what its message says."""

    def pull_messages(self, message_ids: Iterable[str]) -> Any:  # noqa: ANN401
        wanted = set(message_ids)
        if any(m.metadata.dst_node_id == 1 for m in self.pushed if m.metadata.message_id in wanted):
            raise ValueError("object \x1b[31mis no object")
        return list(super().pull_messages(wanted))


def test_an_answer_that_cannot_be_put_together_loses_its_own_site_alone(caplog: pytest.LogCaptureFixture) -> None:
    transport = Transport(BrokenGrid({1: FakeNode(key_of("a"), echo), 2: FakeNode(key_of("b"), echo)}))
    send(transport, A)
    send(transport, B)
    found = {sent.client: answer for sent, answer in transport.receive()}
    lost_one = found[A]
    assert isinstance(lost_one, Lost)
    assert "cannot be put together" in lost_one.why
    assert "\x1b" not in lost_one.why
    assert isinstance(found[B], Envelope)
    assert "asking for each one by itself" in caplog.text


def test_a_superlink_that_is_gone_is_said_at_once() -> None:
    class Gone(FakeGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Any:  # noqa: ANN401
            raise httpx.ConnectError("refused")

    transport = Transport(Gone({1: FakeNode(key_of("a"), echo)}))
    send(transport)
    with pytest.raises(httpx.ConnectError):
        list(transport.receive())
