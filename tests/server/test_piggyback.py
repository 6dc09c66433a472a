"""Piggybacked probes: one exchange a round, and scores that are one aggregate old."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedstrata.client.handler import Handler
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.runs.state import Measured
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.warmup import Warmup
from fedstrata.wire.messages import (
    Probe,
    Probed,
    ProbePlan,
    Request,
    Train,
)
from piggyback_runs import noting, piggybacking, play
from small_runs import SIZES, toy_run
from toys import toy_clients, toy_model


def test_a_round_costs_a_client_one_exchange_but_for_the_first() -> None:
    played = play(piggybacking(Consensus()), 4)
    everyone = list(SIZES)
    assert [played.probed(r) for r in range(4)] == [everyone, [], [], []]
    assert [played.piggybacking(r) for r in range(4)] == [everyone, everyone, everyone, []]
    assert len(played.asked) == 4 * (4 + 1)


def test_without_the_key_every_round_probes_and_nothing_rides() -> None:
    played = play(piggybacking(Consensus(), piggyback=False), 3)
    assert [played.probed(r) for r in range(3)] == [list(SIZES)] * 3
    assert [played.piggybacking(r) for r in range(3)] == [[]] * 3
    assert {c.probe_round - c.round for r in played.records for c in r.clients if c.probe_round is not None} == {0}
    assert all(not state.piggybacked for state in played.states)


def test_scores_are_those_of_a_probe_at_the_weights_of_the_round_before() -> None:
    """Measured by hand: the weights that round t - 1 began with, the rows that the probe of round t draws."""
    setting = replace(piggybacking(Consensus()), probe=ProbePlan(1, 3))
    played = play(setting, 3)
    handler = Handler(toy_model(), toy_clients(SIZES, held_out=3), Seeds(0))
    for round in (1, 2):
        for name in SIZES:
            at, client = played.states[round - 1].weights, ClientId(name)
            by_hand = handler.handle(Probe(client, round, at, setting.probe_plan()))
            assert isinstance(by_hand, Probed)
            record = played.client(round, name)
            assert record.scores == tuple(GradientNorm()(stats) for stats in by_hand.stats)
            assert (record.probe_round, record.probe_loss) == (round, by_hand.loss)
            now = handler.handle(Probe(client, round, played.states[round].weights, setting.probe_plan()))
            assert isinstance(now, Probed)
            assert record.scores != tuple(GradientNorm()(stats) for stats in now.stats)
    assert {c.probe_round for c in played.records[0].clients} == {1}


def test_masks_follow_the_scores_that_rode() -> None:
    played = play(piggybacking(Independent()), 3)
    for record in played.records:
        for client in record.clients:
            assert client.mask == (int(np.argmax(client.scores)),)


def test_the_state_holds_what_was_piggybacked_in_the_round_just_played_and_nothing_older() -> None:
    played = play(piggybacking(Consensus()), 3)
    assert [{r.round for r in s.piggybacked.values()} for s in played.states] == [set(), {0}, {1}, set()]
    assert list(played.states[1].piggybacked) == list(SIZES)
    one, record = played.states[1].piggybacked[ClientId("b")], played.client(1, "b")
    assert one == Measured(0, record.probe_loss or 0.0, record.scores)


@pytest.mark.parametrize("seed", range(3))
def test_of_a_part_of_the_clients_those_piggyback_who_are_in_the_next_cohort_too(seed: int) -> None:
    setting = piggybacking(Consensus(), per_round=2, seed=seed)
    played = play(setting, 5)
    cohorts = [set(setting.cohort(round, 0)) for round in range(5)]
    for round in range(4):
        both = cohorts[round] & cohorts[round + 1]
        assert set(played.piggybacking(round)) == both
        assert set(played.probed(round + 1)) == cohorts[round + 1] - both
        ages = {c.client: c.probe_round for c in played.records[round + 1].clients}
        assert ages == {c: round + 1 if c in both else round + 2 for c in cohorts[round + 1]}
    assert any(played.piggybacking(round) for round in range(4))


def test_under_periodic_the_probe_is_piggybacked_on_the_last_round_of_a_period() -> None:
    played = play(piggybacking(Periodic(every=2, inner=Independent())), 5)
    everyone = list(SIZES)
    assert [played.probed(r) for r in range(5)] == [everyone, [], [], [], []]
    assert [played.piggybacking(r) for r in range(5)] == [[], everyone, [], everyone, []]
    assert [played.client(r, "a").probe_round for r in range(5)] == [1, None, 2, None, 4]
    masks = [played.client(r, "a").mask for r in range(5)]
    assert (masks[0], masks[2]) == (masks[1], masks[3])


def test_under_warm_up_the_first_probe_is_piggybacked_on_its_last_round() -> None:
    played = play(piggybacking(Warmup(rounds=2, inner=Independent())), 4)
    everyone = list(SIZES)
    assert [played.probed(r) for r in range(4)] == [[]] * 4
    assert [played.piggybacking(r) for r in range(4)] == [[], everyone, everyone, []]
    assert [played.client(r, "a").probe_round for r in range(4)] == [None, None, 2, 3]


def test_the_last_round_of_a_run_carries_nothing(tmp_path: Path) -> None:
    asked: list[Request] = []
    run, weights = toy_run(tmp_path, selector=Consensus(), engine=noting(asked), piggyback=True, rounds=3)
    run.start(weights)
    assert {r.round for r in asked if isinstance(r, Train) and r.probe} == {0, 1}
    state = json.loads((tmp_path / "checkpoints" / "round-0003" / "state.json").read_text())
    assert state["piggybacked"] == {}
