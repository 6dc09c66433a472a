"""Updates that are lost, attempts that are abandoned, rounds that are skipped: what becomes of piggybacked scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.warmup import Warmup
from fedstrata.server.observers import Quiet
from fedstrata.server.round import play_round
from fedstrata.server.rules import Rules
from fedstrata.server.run import initial_state
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Probe, Reply, Request, Train, Update
from piggyback_runs import STATISTICS, in_training, noting, piggybacking, play
from small_runs import SIZES, after, events, toy_run
from toy_runs import toy_engine
from toys import same_bits, toy_clients, toy_model


def test_a_client_whose_update_is_lost_is_probed_in_the_next_round() -> None:
    played = play(piggybacking(Consensus()), 3, lambda r: isinstance(r, Train) and (r.client, r.round) == ("c", 0))
    assert list(played.states[1].piggybacked) == ["a", "b", "d"]
    assert played.probed(1) == ["c"]
    assert [played.client(1, n).probe_round for n in SIZES] == [1, 1, 2, 1]
    assert played.client(0, "c").bytes_up == STATISTICS


@pytest.mark.parametrize("defect", ["missing", "not finite", "of other layers", "unasked"])
def test_update_and_statistics_are_refused_as_one(defect: str) -> None:
    setting = piggybacking(Consensus())
    inner = toy_engine(toy_model(), toy_clients(SIZES, held_out=3))
    last = defect == "unasked"

    def script(request: Request) -> Reply:
        if isinstance(request, Train) and request.client == "b" and last:
            request = replace(request, probe=setting.probe_plan())
        (reply,) = inner.send([request])
        if not isinstance(reply, Update) or request.client != "b" or reply.piggybacked is None or last:
            return reply
        if defect == "missing":
            return replace(reply, piggybacked=None)
        if defect == "not finite":
            return replace(reply, piggybacked=replace(reply.piggybacked, loss=float("nan")))
        return replace(reply, piggybacked=replace(reply.piggybacked, stats=reply.piggybacked.stats[:-1]))

    def lost(request: Request) -> bool:
        return isinstance(request, Train) and request.client == "b"

    state = initial_state(setting, toy_model().weights())
    got, record = play_round(state, setting, ScriptedEngine(script), Quiet(), last=last)
    expected, _ = play_round(state, setting, noting([], lost), Quiet(), last=last)
    assert record.clients[1].failure == ("NONFINITE" if defect == "not finite" else "SCHEMA")
    assert same_bits(got.weights, expected.weights)
    assert got.piggybacked == expected.piggybacked
    assert ClientId("b") not in got.piggybacked


@dataclass(frozen=True, slots=True)
class Touchy:
    """A score that is not finite for a client of six rows."""

    needs: frozenset[Statistic] = frozenset({Statistic.NORM})

    def __call__(self, stats: LayerStats) -> float:
        return float("inf") if stats.num_examples == SIZES["b"] else stats.grad_sq


def test_scores_that_are_not_finite_cost_their_client_the_round_that_they_are_for_and_not_its_update() -> None:
    setting = piggybacking(Warmup(rounds=1, inner=Independent()), score=Touchy())
    played = play(setting, 3)
    assert played.client(0, "b").failure is None
    assert played.client(0, "b").steps > 0
    assert played.records[0].losses == {"NONFINITE": 1}
    assert list(played.states[1].piggybacked) == ["a", "c", "d"]
    assert played.probed(1) == ["b"]
    assert played.client(1, "b").failure == "NONFINITE"


def test_with_a_layer_quorum_what_is_piggybacked_is_kept_too() -> None:
    played = play(piggybacking(Consensus(), rules=Rules(layer_quorum=2)), 3)
    assert [len(s.piggybacked) for s in played.states] == [0, 4, 4, 0]
    assert played.probed(1) == []


def test_scores_that_were_piggybacked_stay_for_another_attempt_at_the_round(tmp_path: Path) -> None:
    """The weights are the same; with the whole cohort in every attempt nothing else may differ."""
    asked: list[Request] = []
    engine = noting(asked, in_training(*SIZES, round=1, attempts=2))
    run, weights = toy_run(tmp_path / "a", selector=Consensus(), engine=engine, piggyback=True)
    calm, _ = toy_run(tmp_path / "calm", selector=Consensus(), piggyback=True)
    assert same_bits(run.start(weights).weights, calm.start(weights).weights)
    assert [e["attempt"] for e in events(tmp_path / "a", "round")] == [0, 2, 0]
    assert {r.round for r in asked if isinstance(r, Probe)} == {0}
    assert {e["probe_round"] for e in events(tmp_path / "a", "client") if e["round"] == 2} == {1}


def test_of_another_attempts_cohort_those_are_probed_who_have_no_scores(tmp_path: Path) -> None:
    asked: list[Request] = []
    engine = noting(asked, in_training(*SIZES, round=1, attempts=1))
    run, weights = toy_run(tmp_path, selector=Consensus(), engine=engine, piggyback=True, per_round=3, seed=2)
    run.start(weights)
    carried = {r.client for r in asked if isinstance(r, Train) and r.round == 0 and r.probe}
    again = {r.client for r in asked if isinstance(r, Probe) and r.round == 1 and r.origin.attempt == 1}
    cohort = set(run.setting.cohort(1, 1))
    assert cohort - carried
    assert cohort & carried
    assert again == cohort - carried


def test_what_was_piggybacked_on_an_attempt_that_was_abandoned_is_not_used(tmp_path: Path) -> None:
    asked: list[Request] = []
    engine = noting(asked, in_training("a", "b", "c", round=0, attempts=1))
    run, weights = toy_run(
        tmp_path, selector=Consensus(), engine=engine, piggyback=True, rules=Rules(quorum=2), rounds=2
    )
    run.start(weights)
    assert [e["attempt"] for e in events(tmp_path, "round")] == [1, 0]
    probed = [(r.round, r.origin.attempt, r.client) for r in asked if isinstance(r, Probe)]
    assert probed == [(0, attempt, name) for attempt in range(2) for name in SIZES]


def test_after_a_round_that_was_skipped_everybody_is_probed(tmp_path: Path) -> None:
    asked: list[Request] = []
    rules = Rules(retries=0, on_abandon="skip")
    engine = noting(asked, in_training(*SIZES, round=1))
    run, weights = toy_run(tmp_path, selector=Consensus(), engine=engine, piggyback=True, rules=rules, rounds=4)
    run.start(weights)
    assert [r.client for r in asked if isinstance(r, Probe) and r.round == 2] == list(SIZES)
    ages = {e["round"]: e["round"] - e["probe_round"] for e in events(tmp_path, "client")}
    assert ages == {1: 0, 3: 0, 4: 1}


def test_a_checkpoint_holds_what_was_piggybacked_to_the_bit(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, selector=Consensus(), piggyback=True, stop=after(1))
    run.start(weights)
    first = json.loads((tmp_path / "checkpoints" / "round-0001" / "state.json").read_text())
    run, _ = toy_run(tmp_path, selector=Consensus(), piggyback=True)
    run.resume(weights)
    logged = [e for e in events(tmp_path, "client") if e["round"] == 2]
    assert first["piggybacked"] == {
        e["client"]: {"round": 0, "loss": e["probe_loss"], "scores": e["scores"], "sketches": []} for e in logged
    }
