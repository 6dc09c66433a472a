"""What went over the wire."""

from __future__ import annotations

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.engines.flower.traffic import Exchange, Tally


def exchange(down: int, up: int) -> Exchange:
    return Exchange(ClientId("a"), "train", 3, (LayerName("h.0"),), down, up, 0.5)


def test_a_tally_keeps_exchanges_in_order_and_counts_their_bytes() -> None:
    tally = Tally()
    for one in (exchange(10, 1), exchange(0, 2)):
        tally(one)
    assert [e.bytes_up for e in tally.exchanges] == [1, 2]
    assert (tally.bytes_down, tally.bytes_up) == (10, 3)


def test_an_empty_tally_counts_nothing() -> None:
    assert (Tally().bytes_down, Tally().bytes_up) == (0, 0)


def test_tallies_do_not_share_exchanges() -> None:
    one, other = Tally(), Tally()
    one(exchange(1, 1))
    assert other.exchanges == []


def test_an_exchange_that_says_nothing_else_went_well() -> None:
    assert (exchange(1, 1).outcome, exchange(1, 1).seconds_work) == ("ok", 0.0)
