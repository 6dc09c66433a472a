"""Joining: who takes part, who does not and why, and for how long is waited."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Message
from flwr.app.error import Error

from fedstrata.domain.ids import ClientId
from fedstrata.engines.clock import VirtualClock
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.join import Joined, join
from fedstrata.engines.flower.roster import Roster
from fedstrata.engines.flower.traffic import Tally
from fedstrata.wire.declaration import Declaration
from flower_grid import Answer, FakeGrid, FakeNode, Forge, key_of, keys_of

A, B, C = ClientId("a"), ClientId("b"), ClientId("c")


def declares(rows: int, **more: Any) -> Answer:  # noqa: ANN401  anything that a site says
    said = {"kind": "declaration", **Declaration(rows).to_json(), **more}
    return lambda envelope: Envelope(said, {})


def refuses(message: object) -> Answer:
    return lambda envelope: Envelope({"kind": "refused", "message": message}, {})


@dataclass
class World:
    """Nodes that answer, a clock that moves when somebody waits, and what was told."""

    answers: dict[str, Answer]
    forge: Forge = lambda message, reply: reply
    clock: VirtualClock = field(default_factory=VirtualClock)
    tally: Tally = field(default_factory=Tally)
    told: list[str] = field(default_factory=list)
    tick: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        nodes = {100 + i: FakeNode(key_of(name), said) for i, (name, said) in enumerate(self.answers.items())}
        self.grid = FakeGrid(nodes, self.forge)

    def restart(self, number: int, answer: Answer) -> None:
        self.grid.nodes[number].activated = str(self.clock.now())
        self.grid.nodes[number].answer = answer

    def wait(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + max(seconds, 0.25))
        self.tick()
        assert self.clock.now() < 10_000, "it waits for ever"

    def join(self, *sites: str, timeout: float = 30.0) -> Joined:
        return join(
            self.grid,
            Roster(keys_of(*sites)),
            said={"run": "r", "spec": {"seed": 3}},
            note=self.tally,
            tell=self.told.append,
            timeout=timeout,
            clock=self.clock,
            wait=self.wait,
        )


def lasting(world: World) -> Callable[[], None]:
    """Have a node answer only after eight seconds, so that the joining lasts that long."""
    world.grid.held = {101}
    return lambda: world.grid.held.discard(101) if world.clock.now() > 8 else None


def test_sites_join_with_what_they_declare_in_the_order_of_their_names() -> None:
    world = World({"b": declares(20, budget={"layers": 2.0}), "a": declares(1000)})
    joined = world.join("a", "b")
    assert list(joined.declarations) == ["a", "b"]
    assert joined.declarations[B] == Declaration(20, budget={"layers": 2.0})
    assert joined.refused == {}
    assert world.clock.now() == 0, "nobody waits once all are there"
    assert world.told == [
        "a joined with 1,000 training rows (1 of 2 sites)",
        "b joined with 20 training rows (2 of 2 sites)",
    ]


def test_the_order_in_which_sites_answer_does_not_matter() -> None:
    world = World({"b": declares(20), "a": declares(10)})
    world.tick = lasting(world)
    assert list(world.join("a", "b").declarations) == [A, B]
    assert world.told[0].startswith("b joined")


def test_every_site_is_asked_once_with_the_run_and_the_briefing() -> None:
    world = World({"a": declares(1), "b": declares(1)})
    world.join("a", "b")
    assert [message.metadata.message_type for message in world.grid.pushed] == ["query.join"] * 2
    for said in world.grid.said():
        assert (said["kind"], said["run"], said["spec"]) == ("join", "r", {"seed": 3})


def test_every_joining_is_an_exchange_outside_rounds() -> None:
    world = World({"a": declares(1), "b": refuses("too few rows")})
    world.join("a", "b")
    assert [(e.client, e.phase, e.round, e.outcome) for e in world.tally.exchanges] == [
        ("a", "join", 0, "ok"),
        ("b", "join", 0, "too few rows"),
    ]


def test_a_site_that_refuses_is_not_waited_for() -> None:
    world = World({"a": declares(1), "b": refuses("it has too few rows")})
    joined = world.join("a", "b")
    assert joined.refused == {B: "it has too few rows"}
    assert list(joined.declarations) == [A]
    assert world.clock.now() == 0
    assert world.told[-1] == "b does not take part: it has too few rows"


def test_a_site_that_refused_and_was_started_anew_is_asked_again() -> None:
    world = World({"a": refuses("there is no model"), "b": declares(2)})
    held = lasting(world)

    def tick() -> None:
        held()
        if world.clock.now() == 4:
            world.restart(100, declares(5))

    world.tick = tick
    joined = world.join("a", "b")
    assert {name: word.num_examples for name, word in joined.declarations.items()} == {A: 5, B: 2}
    assert joined.refused == {}


def test_a_site_that_refused_is_not_asked_again_as_long_as_it_is_the_same() -> None:
    world = World({"a": refuses("no"), "b": declares(2)})
    world.tick = lasting(world)
    assert world.join("a", "b").refused == {A: "no"}
    assert [message.metadata.dst_node_id for message in world.grid.pushed] == [100, 101]


def test_a_site_that_never_answers_is_waited_for_until_the_time_is_up() -> None:
    world = World({"a": declares(1), "b": declares(1)})
    world.grid.held = {101}
    joined = world.join("a", "b", timeout=30.0)
    assert joined.refused == {B: "it did not answer"}
    assert 30 <= world.clock.now() <= 30.5
    assert {message.metadata.ttl for message in world.grid.pushed} == {90.0}


def test_a_site_that_is_not_there_is_waited_for_until_the_time_is_up() -> None:
    world = World({"a": declares(1)})
    joined = world.join("a", "b", timeout=30.0)
    assert joined.refused == {B: "it is not connected"}
    assert 30 <= world.clock.now() <= 30.5


def test_a_site_that_comes_late_joins() -> None:
    world = World({"a": declares(1), "b": declares(2)})
    world.grid.nodes[101].online = False

    def tick() -> None:
        world.grid.nodes[101].online = world.clock.now() > 10

    world.tick = tick
    assert list(world.join("a", "b").declarations) == [A, B]
    assert 10 < world.clock.now() < 13


def test_nobody_at_all_is_everybody_refused() -> None:
    joined = World({}).join("a", "b", timeout=1.0)
    assert joined == Joined({}, {A: "it is not connected", B: "it is not connected"})


def test_a_stranger_is_neither_asked_nor_waited_for() -> None:
    world = World({"mallory": declares(1_000_000), "a": declares(1)})
    assert list(world.join("a").declarations) == [A]
    assert [message.metadata.dst_node_id for message in world.grid.pushed] == [101]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (declares(0), "its declaration cannot be used: num_examples: has to be greater than or equal to 1, got 0"),
        (declares(10**400), "not one of fedstrata's: .*it holds a number of 401 digits"),
        (declares(1, budget={"layers": -1}), "budget.layers: has to be greater than or equal to 0, got -1"),
        (declares(1, versions=["torch"]), "versions: has to be a mapping of keys to values, got"),
        (
            lambda envelope: Envelope({"kind": "declaration"}, {}),
            "its declaration cannot be used: num_examples: this key is needed",
        ),
        (lambda envelope: Envelope({}, {}), "something else than a declaration"),
        (lambda envelope: Envelope({"kind": ["declaration"]}, {}), "something else than a declaration"),
        (refuses(["no", "room"]), "something else than a declaration"),
        (refuses("no\nroom" + "!" * 600), "^no room!{493}$"),
    ],
)
def test_whatever_a_site_says_it_refuses_alone(answer: Answer, why: str) -> None:
    world = World({"a": declares(1), "b": answer})
    joined = world.join("a", "b")
    assert list(joined.declarations) == [A]
    assert re.search(why, joined.refused[B])
    assert "\n" not in "".join(world.told)


def test_a_declaration_may_say_more_than_is_known_today() -> None:
    assert World({"a": declares(7, colour="red")}).join("a").declarations == {A: Declaration(7)}


def of_a(forge: Callable[[Message, Message], Message]) -> Forge:
    """Forge the first answer of site a."""
    tried: list[int] = []

    def once(message: Message, reply: Message) -> Message:
        if message.metadata.dst_node_id != 100 or tried:
            return reply
        tried.append(1)
        return forge(message, reply)

    return once


def gone(message: Message, reply: Message) -> Message:
    return Message(Error(5, "the node is not available"), reply_to=message)


def failed(message: Message, reply: Message) -> Message:
    return Message(Error(2, "it raised"), reply_to=message)


def elsewhere(message: Message, reply: Message) -> Message:
    reply.metadata.__dict__["_src_node_id"] = 101
    return reply


@pytest.mark.parametrize("forge", [gone, elsewhere])
def test_a_site_whose_message_was_lost_is_asked_again(forge: Callable[[Message, Message], Message]) -> None:
    world = World({"a": declares(1), "b": declares(1)}, forge=of_a(forge))
    assert list(world.join("a", "b").declarations) == [A, B]
    assert world.clock.now() < 3


def test_a_site_whose_messages_are_always_lost_is_refused_with_the_reason_when_the_time_is_up() -> None:
    world = World({"a": declares(1)}, forge=gone)
    joined = world.join("a", timeout=20.0)
    assert joined.refused == {A: "Flower reports error 5: the node is not available"}
    assert 20 <= world.clock.now() <= 20.5


def test_a_site_whose_app_breaks_down_is_not_waited_for() -> None:
    world = World({"a": declares(1), "b": declares(1)}, forge=of_a(failed))
    assert world.join("a", "b").refused == {A: "Flower reports error 2: it raised"}
    assert world.clock.now() == 0


def test_what_a_site_was_asked_before_it_was_started_anew_does_not_count_any_more() -> None:
    """Flower reports the first message lost long after the second was answered; and a and c are still waited for."""
    world = World({"a": declares(1), "b": declares(3), "c": declares(1)})
    world.grid.held = {100, 101}
    late: list[str] = []

    def forge(message: Message, reply: Message) -> Message:
        number = message.metadata.message_id
        return failed(message, reply) if number in late else reply

    world.grid.forge = forge

    def tick() -> None:
        if world.clock.now() == 2:
            late.extend(m.metadata.message_id for m in world.grid.pushed if m.metadata.dst_node_id == 101)
            world.restart(101, declares(5))
        if world.clock.now() == 5:
            world.grid.held = {100}
        if world.clock.now() == 9:
            world.grid.held = set()

    world.tick = tick
    joined = world.join("a", "b", "c")
    assert {name: word.num_examples for name, word in joined.declarations.items()} == {A: 1, B: 5, C: 1}
    assert joined.refused == {}
