"""What piggybacks is paid for: in the round in which it is done, by those who can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Top
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import SelectorState
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.run import initial_state
from fedstrata.wire.messages import Request, Train
from piggyback_runs import STATISTICS, noting, piggybacking, play, tolled
from small_runs import SIZES
from toys import BLOCKS, toy_model


def test_statistics_count_as_bytes_in_the_round_in_which_they_are_sent() -> None:
    played = play(piggybacking(Consensus()), 3)
    for name in SIZES:
        deltas = [4 * (42 * len(played.client(r, name).mask) + 21) for r in range(3)]
        sent = [played.client(r, name).bytes_up for r in range(3)]
        assert [up - own for up, own in zip(sent, deltas, strict=True)] == [2 * STATISTICS, STATISTICS, 0]


def test_time_counts_in_the_round_in_which_it_is_spent() -> None:
    played = play(piggybacking(Consensus()), 3)
    spent = [played.client(r, "a").seconds_probe > 0 for r in range(3)]
    assert spent == [True, True, False]


def test_a_selector_without_scores_lets_nothing_piggyback_and_nobody_pays_for_it() -> None:
    played = play(tolled(piggybacking(Top()), rest=2.0), 3)
    assert [played.piggybacking(r) + played.probed(r) for r in range(3)] == [[]] * 3
    assert {c.predicted["flops"] for r in played.records for c in r.clients} == {2.0}
    assert {c.probe_round for r in played.records for c in r.clients} == {None}


def test_a_client_pays_for_every_probe_in_the_round_in_which_it_does_it() -> None:
    """Of 22 two probes leave 2 layers, one leaves all three, and in the last round nothing is measured."""
    played = play(tolled(piggybacking(Independent()), rest=22.0), 3)
    assert [len(played.client(r, "a").mask) for r in range(3)] == [2, 3, 3]
    assert [played.client(r, "a").predicted["flops"] for r in range(3)] == [22.0, 13.0, 3.0]


def test_where_room_was_left_and_nothing_is_piggybacked_nothing_is_recorded_for_it() -> None:
    """Under Periodic a mask leaves room for a probe at its period's end, which is another round's price."""
    played = play(tolled(piggybacking(Periodic(every=2, inner=Independent())), rest=22.0), 4)
    assert [len(played.client(r, "a").mask) for r in range(4)] == [2, 2, 3, 3]
    assert [played.client(r, "a").predicted["flops"] for r in range(4)] == [12.0, 12.0, 3.0, 3.0]


def test_a_client_that_cannot_pay_for_two_probes_does_not_piggyback_and_trains_what_it_can() -> None:
    played = play(tolled(piggybacking(Independent()), b=12.0), 3)
    assert [played.piggybacking(r) for r in range(3)] == [["a", "c", "d"], ["a", "c", "d"], []]
    assert [played.probed(r) for r in range(3)] == [list(SIZES), ["b"], ["b"]]
    assert [len(played.client(r, "b").mask) for r in range(3)] == [2, 2, 2]
    assert [played.client(r, "b").probe_round for r in range(3)] == [1, 2, 3]


@dataclass(frozen=True, slots=True)
class Whim:
    """Gives everybody everything without scores, and wants scores next: as planned all along, or as it selects."""

    planned: bool

    def init(self, layers: LayerMap) -> SelectorState:
        return {"wants": False}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        return tuple(cohort) if (round == 1 if self.planned else state["wants"]) else ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        return Selection(dict.fromkeys(problem.clients, frozenset(range(BLOCKS)))), {"wants": True}


@pytest.mark.parametrize("planned", [False, True])
def test_a_mask_that_no_scores_chose_is_priced_without_a_piggybacked_probe(
    planned: bool,
) -> None:
    """Three layers and a probe are 13; a mask that is kept must not be lost to a probe."""
    setting = tolled(piggybacking(Whim(planned)), a=13.0, b=12.9, c=100.0, d=3.0)
    asked: list[Request] = []
    _, record = play_round(initial_state(setting, toy_model().weights()), setting, noting(asked), Quiet())
    assert [r.client for r in asked if isinstance(r, Train) and r.probe] == ["a", "c"]
    assert [c.predicted["flops"] for c in record.clients] == [13.0, 3.0, 13.0, 3.0]
