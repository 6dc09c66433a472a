"""The engine over Flower: what goes out, what comes back, and what happens when it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from flwr.app import Message
from flwr.app.error import Error

from fedstrata.client.handler import Handler
from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.domain.seeds import Seeds
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.engines.flower.engine import MOST_ASKED, FlowerEngine, _seconds
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.roster import Roster
from fedstrata.engines.flower.traffic import Tally
from fedstrata.engines.local import LocalEngine
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import (
    Evaluate,
    Evaluated,
    Failure,
    Frame,
    Probe,
    Probed,
    ProbePlan,
    Request,
    Train,
    TrainPlan,
    Update,
    Weights,
)
from fedstrata.wire.reply_frames import decode
from flower_grid import FakeGrid, FakeNode, Forge, ToySite, key_of, keys_of
from toys import named, same_bits, toy_clients, toy_layers, toy_model

SIZES = {"a": 12, "b": 6, "c": 9}
PLAN = TrainPlan(steps=2, epochs=None, batch_size=4, lr=0.1)


@dataclass
class World:
    """Sites, grid and engine of one test."""

    grid: FakeGrid
    sites: dict[ClientId, ToySite]
    engine: FlowerEngine
    tally: Tally
    clock: VirtualClock
    tick: list[Callable[[], None]] = field(default_factory=list)


def handler() -> Handler:
    return Handler(toy_model(dropout=0.2), toy_clients(SIZES, held_out=2), Seeds(0))


def weights(seed: int = 0) -> Weights:
    return toy_model(dropout=0.2, seed=seed).weights()


def world(
    *,
    forge: Forge = lambda message, reply: reply,
    answers: dict[str, Callable[[Envelope], Envelope]] | None = None,
    known: tuple[str, ...] = ("a", "b", "c"),
) -> World:
    model = toy_model(dropout=0.2)
    sites = {c: ToySite(handler(), toy_layers(model.module), weights()) for c in named(*SIZES)}
    nodes = {100 + i: FakeNode(key_of(name), (answers or {}).get(name, sites[name])) for i, name in enumerate(sites)}
    grid, tally, clock = FakeGrid(nodes, forge), Tally(), VirtualClock()
    made: list[World] = []

    def wait(seconds: float) -> None:
        clock.advance_to(clock.now() + max(seconds, 0.25))
        for act in made[0].tick:
            act()
        assert clock.now() < 10_000, "the engine waits for ever"

    engine = FlowerEngine(
        grid,
        Roster(keys_of(*known)),
        model.layers,
        held={name: site.holds() for name, site in sites.items()},
        said={"run": "r", "spec": {}},
        note=tally,
        clock=clock,
        wait=wait,
    )
    made.append(World(grid, sites, engine, tally, clock))
    return made[0]


def trains(*clients: str, mask: int = 1, at: Weights | None = None) -> list[Request]:
    start = weights() if at is None else at
    return [Train(c, 0, start, frozenset({mask}), PLAN) for c in named(*clients)]


def expected(request: Request) -> Assignment:
    layers = toy_model().layers
    if isinstance(request, Train):
        return Assignment(request.client, 0, "train", mask=request.mask, blocks=layers.blocks(request.mask))
    phase = "probe" if isinstance(request, Probe) else "evaluate"
    return Assignment(request.client, 0, phase, blocks=layers.layers if phase == "probe" else ())  # type: ignore[arg-type]


def test_every_kind_of_request_is_answered_with_the_bits_of_the_local_engine() -> None:
    (client,) = named("a")
    requests: list[Request] = [
        Probe(client, 0, weights(), ProbePlan(0, 8)),
        *trains("a"),
        Evaluate(client, 0, weights()),
    ]
    for request in requests:
        (frame,) = world().engine.send([request])
        (reference,) = LocalEngine(handler()).send([request])
        assert isinstance(frame, Frame)
        got = decode(frame.data, expected(request))
        assert isinstance(got, Probed | Update | Evaluated)
        if isinstance(got, Update):
            assert isinstance(reference, Update)
            assert same_bits(got.deltas, reference.deltas)
        elif isinstance(got, Probed):
            assert isinstance(reference, Probed)
            assert got.stats == reference.stats
        else:
            assert isinstance(reference, Evaluated)
            assert (got.loss_sum, got.correct) == (reference.loss_sum, reference.correct)


def test_sites_are_asked_at_the_same_time_and_answer_in_any_order() -> None:
    w = world()
    w.grid.held = {100}
    w.tick.append(lambda: w.grid.held.clear() if w.clock.now() > 2 else None)
    replies = [r.client for r in w.engine.send(trains("a", "b", "c"))]
    assert replies == ["b", "c", "a"]
    assert [m.metadata.message_type for m in w.grid.pushed] == ["train.layers"] * 3


def test_only_blocks_that_a_site_lacks_are_sent_and_only_once() -> None:
    w = world()
    list(w.engine.send(trains("a")))
    list(w.engine.send([Evaluate(ClientId("a"), 0, weights())]))
    assert [e.layers_down for e in w.tally.exchanges] == [("head",), ()]
    first, head = weights(), toy_model().layers.always[0]
    assert w.tally.exchanges[0].bytes_down >= head.bytes
    moved = {**first, **{n: first[n] + 1 for n in toy_model().layers.layers[2].tensor_names}}
    list(w.engine.send([Evaluate(ClientId("a"), 1, moved)]))
    assert w.tally.exchanges[-1].layers_down == ("blocks.2",)


def test_blocks_of_old_weights_that_come_back_are_not_sent_again() -> None:
    w, first = world(), weights()
    moved = {**first, **{n: first[n] + 1 for n in toy_model().layers.layers[0].tensor_names}}
    for at in (first, moved, first, moved):
        list(w.engine.send([Evaluate(ClientId("a"), 0, at)]))
    assert [e.layers_down for e in w.tally.exchanges] == [("head",), ("blocks.0",), (), ()]


def test_a_site_whose_cache_was_emptied_says_so_and_gets_its_layers() -> None:
    w, moved = world(), weights(seed=5)
    list(w.engine.send(trains("a", at=moved)))
    w.sites[ClientId("a")].cache.clear()
    (frame,) = w.engine.send(trains("a", at=moved))
    assert isinstance(frame, Frame)
    assert [e.outcome for e in w.tally.exchanges] == ["ok", "missing", "ok"]
    assert w.tally.exchanges[-1].layers_down == ("blocks.0", "blocks.1", "blocks.2", "head")


def test_a_site_that_always_lacks_something_is_given_up() -> None:
    always = {"a": lambda envelope: Envelope({"kind": "missing", "blocks": ["head"]}, {})}
    w = world(answers=always)
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert len(w.grid.pushed) == MOST_ASKED


def test_a_site_that_says_what_failed_is_a_failure_with_its_words() -> None:
    w = world(answers={"a": lambda envelope: Envelope({"kind": "crashed", "message": "no room on its disk"}, {})})
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert (reply.reason, reply.message) == (Reason.CLIENT_ERROR, "no room on its disk")


def test_an_answer_that_is_far_too_long_is_refused_before_it_is_put_together() -> None:
    w = world(answers={"a": lambda envelope: Envelope({"kind": "frame"}, {"/head": b"x" * 10_000_000})})
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert reply.reason is Reason.SIZE


def from_another_node(message: Message, reply: Message) -> Message:
    reply.metadata.__dict__["_src_node_id"] = 102
    return reply


def of_another_message(message: Message, reply: Message) -> Message:
    record = reply.content.config_records["fedstrata"]
    record["json"] = bytes(record["json"]).replace(b'"nonce":"', b'"nonce":"0')  # type: ignore[arg-type]
    return reply


@pytest.mark.parametrize("forge", [from_another_node, of_another_message])
def test_an_answer_in_a_sites_name_from_elsewhere_does_not_count(
    forge: Forge, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def once(message: Message, reply: Message) -> Message | None:
        tried.append(1)
        return forge(message, reply) if len(tried) == 1 else reply

    w = world(forge=once)
    (frame,) = w.engine.send(trains("a"))
    assert isinstance(frame, Frame)
    assert len(w.grid.pushed) == 2
    assert "does not count" in caplog.text


def test_a_node_with_an_unregistered_key_is_nobody() -> None:
    w = world(known=("b", "c"))
    replies = list(w.engine.send(trains("a", "b")))
    assert {r.client: type(r) for r in replies} == {"a": Failure, "b": Frame}
    assert {m.metadata.dst_node_id for m in w.grid.pushed} == {101}


def test_a_site_that_is_away_is_asked_when_it_is_back() -> None:
    w = world()
    node = w.grid.nodes[100]
    node.online = False

    def come_back() -> None:
        if w.clock.now() > 20:
            node.online, node.activated = True, "20"

    w.tick.append(come_back)
    assert all(isinstance(r, Frame) for r in w.engine.send(trains("a", "b")))


def test_a_site_that_stays_away_is_given_up_after_the_patience() -> None:
    w = world()
    w.grid.nodes[100].online = False
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert "not connected" in reply.message
    assert 60 < w.clock.now() < 70


def test_a_site_that_is_started_anew_at_its_work_is_asked_again() -> None:
    """Flower gives a message out once: without this the round would wait for its time to live, twelve hours."""
    w = world()
    w.grid.held = {100}

    def restart() -> None:
        if w.clock.now() > 5:
            w.grid.nodes[100].activated = "5"
            w.grid.held.clear()
            w.grid.pushed = [m for m in w.grid.pushed if m.metadata.message_id != "m0"]

    w.tick.append(restart)
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Frame)


def test_a_site_that_goes_away_at_its_work_is_given_up() -> None:
    w = world()

    def leave() -> None:
        w.grid.nodes[100].online = False

    w.grid.held = {100}
    w.tick.append(leave)
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert "not available" in reply.message


def test_the_wait_ends_at_the_deadline_and_late_answers_are_never_fetched() -> None:
    w = world()
    w.grid.held = {101}
    replies = list(w.engine.send(trains("a", "b"), deadline=Deadline.after(10.0, w.clock)))
    assert [r.client for r in replies] == ["a"]
    assert 10.0 <= w.clock.now() <= 10.5
    w.grid.held.clear()
    assert [r.client for r in w.engine.send(trains("c"))] == ["c"]


def test_messages_live_as_long_as_their_deadline_and_a_grace() -> None:
    w = world()
    list(w.engine.send(trains("a"), deadline=Deadline.after(10.0, w.clock)))
    assert w.grid.pushed[0].metadata.ttl == pytest.approx(70.0)


def test_no_message_says_what_another_one_says() -> None:
    w = world()
    list(w.engine.send(trains("a", "b", "c")))
    nonces = {said["nonce"] for said in w.grid.said()}
    assert len(nonces) == 3
    assert all(len(nonce) == 32 for nonce in nonces)


def test_the_engine_keeps_answers_since_nobody_gives_them_twice() -> None:
    assert world().engine.repeatable is False


def test_a_site_that_is_started_anew_again_and_again_is_given_up() -> None:
    """Without a deadline nothing else would end the wait: Flower keeps a message for twelve hours."""
    w = world()
    w.grid.held = {100}

    def restart() -> None:
        w.grid.nodes[100].activated = str(w.clock.now() // 10)

    w.tick.append(restart)
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert reply.message == "the site was asked 3 times and started anew each time"
    assert w.clock.now() < 60


def test_an_old_message_that_is_reported_lost_does_not_end_the_wait_for_a_later_one() -> None:
    made: list[World] = []

    def forge(message: Message, reply: Message) -> Message | None:
        if message.metadata.message_id == "m0":
            return Message(Error(2), reply_to=message) if made[0].clock.now() > 10 else None
        return reply if made[0].clock.now() > 20 else None

    w = world(forge=forge)
    made.append(w)

    def restart() -> None:
        w.grid.nodes[100].activated = "5" if w.clock.now() > 5 else "0"

    w.tick.append(restart)
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Frame)
    assert [e.outcome for e in w.tally.exchanges] == ["Flower reports error 2: no reason given", "ok"]


def test_whatever_a_site_calls_its_answer_the_log_has_one_short_line() -> None:
    w = world(answers={"a": lambda envelope: Envelope({"kind": "x\n" * 50, "message": "no\nroom\x1b"}, {})})
    (reply,) = w.engine.send(trains("a"))
    assert isinstance(reply, Failure)
    assert reply.message == "no room "
    assert w.tally.exchanges[0].outcome == "x " * 10


def test_an_answer_that_is_replayed_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    """What a site said before, sent again as the answer to what it is asked now."""
    old: list[Message] = []

    def replay(message: Message, reply: Message) -> Message:
        old.append(reply)
        if len(old) == 2:
            again = Message(old[0].content, reply_to=message)
            again.metadata.__dict__["_src_node_id"] = reply.metadata.src_node_id
            return again
        return reply

    w = world(forge=replay)
    list(w.engine.send(trains("a", mask=0)))
    (frame,) = w.engine.send(trains("a", mask=2))
    assert isinstance(frame, Frame)
    assert isinstance(decode(frame.data, expected(trains("a", mask=2)[0])), Update)
    assert len(w.grid.pushed) == 3
    assert "does not repeat what it was asked with" in caplog.text


@pytest.mark.parametrize(
    ("claimed", "taken"), [(2.5, 2.5), (10**4000, 0.0), (1e300, 0.0), (-1, 0.0), (True, 1.0), ("3", 0.0), (None, 0.0)]
)
def test_seconds_that_a_site_claims_are_a_number_or_none(claimed: object, taken: float) -> None:
    assert _seconds(Envelope({"seconds": claimed}, {})) == taken
