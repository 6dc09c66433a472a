"""Rounds that too few clients answer: abandoned, tried again, given up or skipped; layers below their quorum."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline
from fedstrata.errors import TrainingError
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.rules import Rules
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Evaluate, Failure, Frame, Probe, Reply, Request, Train, Weights, phase_of
from small_runs import SIZES, after, essence, events, toy_run
from toy_runs import Assigned, toy_engine
from toys import copy_of, same_bits, toy_clients, toy_model

Loses = Callable[[Request], bool]


def flaky(loses: Loses, asked: list[Request] | None = None) -> ScriptedEngine:
    """Return an engine that loses some requests, and notes all."""
    inner = toy_engine(toy_model(), toy_clients(SIZES, held_out=3))

    def script(request: Request) -> Reply | Frame:
        if asked is not None:
            asked.append(request)
        if loses(request):
            return Failure(request.client, request.round, phase_of(request), Reason.CLIENT_ERROR, "lost")
        (reply,) = inner.send([request])
        return reply

    return ScriptedEngine(script)


def in_training(*clients: str, round: int, attempts: int = 99) -> Loses:
    """Lose these clients' training in the first attempts at a round."""
    return lambda r: isinstance(r, Train) and r.client in clients and r.round == round and r.origin.attempt < attempts


def test_a_round_below_its_quorum_is_tried_again_and_then_counts(tmp_path: Path) -> None:
    engine = flaky(in_training("a", "b", round=1, attempts=2))
    run, weights = toy_run(tmp_path, selector=Consensus(), engine=engine, rules=Rules(quorum=3, retries=2))
    result = run.start(weights)
    assert [(e["round"], e["attempt"], e["answered"], e["needed"]) for e in events(tmp_path, "abandoned")] == [
        (2, 0, 2, 3),
        (2, 1, 2, 3),
    ]
    assert [(e["round"], e["attempt"], e["committed"]) for e in events(tmp_path, "round")] == [
        (1, 0, True),
        (2, 2, True),
        (3, 0, True),
    ]
    assert result.summary["abandoned"] == 2
    assert result.summary["losses"] == {"BELOW_QUORUM": 2, "CLIENT_ERROR": 4}


def test_the_attempt_that_counts_leaves_the_bits_of_a_run_without_trouble(tmp_path: Path) -> None:
    """With the whole cohort in every attempt nothing else may differ."""
    calm, weights = toy_run(tmp_path / "calm", rules=Rules(quorum=4))
    engine = flaky(in_training("a", round=1, attempts=1))
    troubled, _ = toy_run(tmp_path / "troubled", engine=engine, rules=Rules(quorum=4))
    assert same_bits(calm.start(weights).weights, troubled.start(weights).weights)


def test_another_attempt_draws_another_cohort(tmp_path: Path) -> None:
    asked: list[Request] = []
    engine = flaky(lambda r: isinstance(r, Train) and r.origin.attempt < 8, asked)
    run, weights = toy_run(tmp_path, engine=engine, rounds=1, per_round=2, rules=Rules(quorum=2, retries=8))
    run.start(weights)
    cohorts = {
        frozenset(r.client for r in asked if isinstance(r, Train) and r.origin.attempt == attempt)
        for attempt in range(9)
    }
    assert len(cohorts) > 1


def test_given_up_it_says_why_and_what_to_do_and_the_model_is_that_of_the_round_before(tmp_path: Path) -> None:
    engine = flaky(in_training(*SIZES, round=1))
    run, weights = toy_run(tmp_path, engine=engine, rules=Rules(retries=1))
    with pytest.raises(TrainingError) as caught:
        run.start(weights)
    assert str(caught.value) == (
        "round 2 is abandoned: 0 of 4 clients are left after training, 1 is needed; first, a: CLIENT_ERROR: lost; "
        f"given up after 2 attempts; see to the clients, then go on with: fedstrata resume {tmp_path}"
    )
    before, _ = toy_run(tmp_path.with_name("one"), rounds=3, stop=after(1))
    expected = before.start(weights).weights
    state = json.loads((tmp_path / "checkpoints" / "round-0001" / "state.json").read_text())
    assert (state["round"], state["attempt"]) == (1, 2)
    resumed, _ = toy_run(tmp_path, rounds=1)
    assert same_bits(resumed.resume(weights).weights, expected)


def test_resumed_after_it_was_given_up_it_goes_on_with_the_next_attempt(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, engine=flaky(in_training(*SIZES, round=1)), rules=Rules(retries=1))
    with pytest.raises(TrainingError):
        run.start(weights)
    run, _ = toy_run(tmp_path, rules=Rules(retries=1))
    result = run.resume(weights)
    assert [e["attempt"] for e in events(tmp_path, "abandoned")] == [0, 1]
    assert [e["attempt"] for e in events(tmp_path, "round")] == [0, 2, 0]
    calm, _ = toy_run(tmp_path.with_name("calm"))
    assert same_bits(result.weights, calm.start(weights).weights)


def test_skipped_it_leaves_the_weights_and_the_run_goes_on(tmp_path: Path) -> None:
    engine = flaky(in_training(*SIZES, round=1))
    run, weights = toy_run(tmp_path, engine=engine, rules=Rules(retries=1, on_abandon="skip"))
    result = run.start(weights)
    assert result.state == "finished"
    rounds = events(tmp_path, "round")
    assert [e["committed"] for e in rounds] == [True, False, True]
    assert rounds[1]["test"] == rounds[0]["test"]
    assert all(layer["update_norm"] == 0 for layer in rounds[1]["layers"])
    assert (result.summary["skipped"], result.summary["abandoned"]) == (1, 2)


def test_too_few_after_the_probe_abandon_the_round_before_anyone_trains(tmp_path: Path) -> None:
    asked: list[Request] = []
    engine = flaky(lambda r: isinstance(r, Probe) and r.client in ("a", "b"), asked)
    run, weights = toy_run(tmp_path, selector=Consensus(), engine=engine, rules=Rules(quorum=3, retries=0))
    with pytest.raises(TrainingError, match=r"2 of 4 clients are left after the probe, 3 are needed"):
        run.start(weights)
    assert not any(isinstance(r, Train) for r in asked)


@pytest.mark.parametrize("lost", range(5))
def test_a_share_of_the_cohort_is_rounded_up(tmp_path: Path, lost: int) -> None:
    names = list(SIZES)[:lost]
    engine = flaky(lambda r: isinstance(r, Train) and r.client in names)
    run, weights = toy_run(tmp_path, engine=engine, rounds=1, rules=Rules(quorum=0.6, retries=0))
    if 4 - lost >= 3:
        assert run.start(weights).state == "finished"
    else:
        with pytest.raises(TrainingError, match="3 are needed"):
            run.start(weights)


def test_clients_lost_in_the_evaluation_are_counted_and_the_round_stands(tmp_path: Path) -> None:
    engine = flaky(lambda r: isinstance(r, Evaluate) and r.client == "a" and r.round == 2)
    run, weights = toy_run(tmp_path, engine=engine)
    run.start(weights)
    assert [e["losses"] for e in events(tmp_path, "round")] == [{}, {"CLIENT_ERROR": 1}, {}]
    assert "a" not in events(tmp_path, "round")[1]["client_accuracy"]


def blocks_moved(before: Weights, now: Weights) -> list[str]:
    return sorted({n.rsplit(".", 1)[0] for n in before if not torch.equal(before[n], now[n])})


@pytest.mark.parametrize("quorum", [1, 2, 3, 4, 5])
def test_a_layer_below_its_quorum_keeps_its_bits_and_the_others_move(tmp_path: Path, quorum: int) -> None:
    """Two clients train block 0, one block 2; four train the head."""
    masks = {"a": frozenset({0}), "b": frozenset({0}), "c": frozenset({2}), "d": frozenset()}
    run, weights = toy_run(tmp_path, selector=Assigned(masks), rounds=1, rules=Rules(layer_quorum=quorum), budget=3)
    before = copy_of(weights)
    now = run.start(weights).weights
    counts = {"blocks.0": 2, "blocks.2": 1, "head": 4}
    assert blocks_moved(before, now) == sorted(n for n, k in counts.items() if k >= quorum)
    (record,) = events(tmp_path, "round")
    found = {x["name"]: (x["contributors"], x["below_quorum"]) for x in record["layers"]}
    for name, count in counts.items():
        assert found[name] == ((count, 0) if count >= quorum else (0, count))
    few = sum(count < quorum for count in counts.values())
    assert record["losses"] == ({"BELOW_QUORUM": few} if few else {})


def test_layers_with_their_quorum_get_the_bits_that_they_get_without(tmp_path: Path) -> None:
    """Updates that were kept and read back one by one are those that stream through."""
    plain, weights = toy_run(tmp_path / "plain", selector=Consensus(), dropout=0.2, budget=3)
    asked, _ = toy_run(tmp_path / "asked", selector=Consensus(), dropout=0.2, budget=3, rules=Rules(layer_quorum=4))
    assert same_bits(plain.start(weights).weights, asked.start(weights).weights)


class Interrupting:
    """An engine that is interrupted at its n-th answer."""

    def __init__(self, inner: ScriptedEngine, at: int) -> None:
        self._inner, self._left = inner, at
        self.clock, self.repeatable = inner.clock, inner.repeatable

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        for reply in self._inner.send(requests, deadline=deadline):
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            yield reply

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(("at", "keep"), [(at, at % 2 == 0) for at in range(4, 36, 3)])
def test_broken_off_anywhere_and_resumed_it_is_the_unbroken_run(tmp_path: Path, at: int, keep: bool) -> None:
    """With answers kept, nobody is asked for the same again."""
    loses = in_training("b", round=1)
    rules = Rules(keep_updates=keep)
    whole, weights = toy_run(tmp_path / "whole", selector=Consensus(), engine=flaky(loses), rules=rules)
    expected = whole.start(weights)
    asked: list[Request] = []
    engine = Interrupting(flaky(loses, asked), at)
    broken, _ = toy_run(tmp_path / "broken", selector=Consensus(), engine=engine, rules=rules)
    with pytest.raises(KeyboardInterrupt):
        broken.start(weights)
    before = {(type(r), r.round, r.client) for r in asked[:at] if not isinstance(r, Evaluate)}
    asked.clear()
    resumed, _ = toy_run(tmp_path / "broken", selector=Consensus(), engine=flaky(loses, asked), rules=rules)
    got = resumed.resume(weights)
    assert same_bits(got.weights, expected.weights)
    assert essence(tmp_path / "broken") == essence(tmp_path / "whole")
    if keep:
        assert not before & {(type(r), r.round, r.client) for r in asked}
