"""Names are bound to keys, and keys to whichever node Flower says they are."""

from __future__ import annotations

import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.roster import Node, Roster, Simulated, numbered
from flower_grid import FakeGrid, FakeNode, key_of, keys_of
from toys import named

A, B = named("a", "b")


def grid(**nodes: int) -> FakeGrid:
    """Nodes of these numbers with the keys of these sites."""
    return FakeGrid({number: FakeNode(key_of(name), silent) for name, number in nodes.items()})


def silent(envelope: Envelope) -> Envelope:
    raise AssertionError("nobody is asked anything")


def seen(roster: Roster, grid: FakeGrid) -> Roster:
    roster.refresh(grid)
    return roster


def test_before_the_first_look_nobody_is_connected() -> None:
    roster = Roster(keys_of("b", "a"))
    assert roster.names == (A, B)
    assert roster.online == ()
    assert roster.node(A) is None


def test_a_site_is_where_its_key_is() -> None:
    roster = seen(Roster(keys_of("a", "b")), grid(a=11, b=12))
    assert (roster.node(A), roster.node(B)) == (Node(11, "0"), Node(12, "0"))
    assert roster.online == (A, B)


def test_a_site_that_registered_anew_has_another_number_and_the_same_name() -> None:
    roster = Roster(keys_of("a", "b"))
    seen(roster, grid(a=11, b=12))
    seen(roster, grid(b=11, a=12))
    assert (roster.node(A), roster.node(B)) == (Node(12, "0"), Node(11, "0"))


def test_nodes_with_other_keys_do_not_exist_for_a_run() -> None:
    roster = seen(Roster(keys_of("a")), grid(a=11, mallory=12, eve=13))
    assert roster.strangers == {12, 13}
    assert (roster.names, roster.online) == ((A,), (A,))
    assert roster.node(ClientId("mallory")) is None


def test_a_key_is_the_same_whatever_blanks_surround_it() -> None:
    roster = Roster({A: b"  " + key_of("a") + b"\n"})
    assert seen(roster, FakeGrid({11: FakeNode(key_of("a") + b"\n\n", silent)})).online == (A,)


def test_a_site_that_went_away_has_no_node_and_keeps_its_name() -> None:
    roster, flower = Roster(keys_of("a", "b")), grid(a=11, b=12)
    seen(roster, flower)
    flower.nodes[11].online = False
    seen(roster, flower)
    assert (roster.node(A), roster.online, roster.names) == (None, (B,), (A, B))


def test_strangers_that_went_away_are_forgotten() -> None:
    roster = Roster(keys_of("a"))
    seen(roster, grid(mallory=12))
    assert seen(roster, grid(a=11)).strangers == frozenset()


def test_a_site_that_was_started_anew_is_not_the_same_node() -> None:
    roster, flower = Roster(keys_of("a")), grid(a=11)
    before = seen(roster, flower).node(A)
    assert seen(roster, flower).node(A) == before
    flower.nodes[11].activated = "1"
    assert seen(roster, flower).node(A) != before


def test_two_sites_with_one_key_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a and c have the same key; each site needs one of its own"):
        Roster({A: b"key one", B: b"key two", ClientId("c"): b"key one\n"})


def test_the_clients_of_a_simulation_are_numbered_by_name() -> None:
    clients = numbered(named("c", "a", "b"), {0: 50, 1: 51, 2: 52})
    assert clients.names == clients.online == ("a", "b", "c")
    assert [clients.node(name) for name in clients.names] == [Node(50), Node(51), Node(52)]


def test_nobody_comes_or_goes_in_a_simulation() -> None:
    clients = Simulated({A: 11})
    clients.refresh(grid())
    assert clients.node(A) == Node(11)
    assert clients.node(B) is None
