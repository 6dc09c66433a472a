"""What clients keep between rounds: against a loop in plain PyTorch, through kills and lost answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from fedstrata.client.handler import Handler
from fedstrata.client.state_store import StateStore
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.profile import TrainerCost
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.domain.training import MOMENTS
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.local import LocalEngine
from fedstrata.runs.checkpoint import generations
from fedstrata.selectors.protocol import SelectorState
from fedstrata.server.rules import Rules
from fedstrata.server.run import Run
from fedstrata.server.session import Session
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import Reply, Request, StateVersion, Train, TrainPlan, Weights
from small_runs import after, essence, never, toy_run
from toys import ToyNet, same_bits, toy_clients, toy_model

Optimizer = Literal["momentum", "adamw"]
SIZES = {"a": 12, "b": 6}
MASKS: tuple[Mask, ...] = (frozenset({0, 1}), frozenset({1}), frozenset({1, 2}), frozenset({0}), frozenset({0, 2}))
"""Of each round: layer 1 of client a is trained in the first and the third round, 0 and 2 in one of them."""
STEPS, LR = 3, 0.05
SEED = 4
"""With it the first five cohorts of one client are a, b, a, a, b."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Gives everyone the mask of the round."""

    def init(self, layers: LayerMap) -> SelectorState:
        return {}

    def probes(self, round: int, cohort: object, state: SelectorState) -> tuple[ClientId, ...]:
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        return Selection(dict.fromkeys(problem.clients, MASKS[problem.round])), state


@dataclass(slots=True)
class Watched:
    """An engine that notes what is trained, and ends the program or loses an answer where a test says so."""

    inner: LocalEngine
    asked: list[tuple[str, int, int, tuple[StateVersion, ...] | None]] = field(default_factory=list)
    breaks_after: int | None = None
    loses: tuple[tuple[str, int, int], ...] = ()

    clock: Clock = MONOTONIC
    repeatable: bool = True

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply]:
        for request in requests:
            for reply in self.inner.send([request]):
                if isinstance(request, Train):
                    what = (str(request.client), request.round, request.origin.attempt)
                    self.asked.append((*what, request.states))
                    if len(self.asked) == self.breaks_after:
                        raise SystemExit(1)
                    if what in self.loses:
                        continue
                yield reply

    def close(self) -> None:
        """Hold nothing."""


def run(
    path: Path,
    optimizer: Optimizer = "momentum",
    *,
    kept: bool = True,
    per_round: int = 1,
    breaks_after: int | None = None,
    loses: tuple[tuple[str, int, int], ...] = (),
    **options: Any,  # noqa: ANN401  of toy_run
) -> tuple[Run, Weights, Watched]:
    """Return a toy run of five rounds whose clients keep the optimizer's state, and its engine."""
    model, clients = toy_model(), toy_clients(SIZES)
    trainer = Sgd("kept" if kept else "new")
    store = StateStore(path / "client-states")
    engine = Watched(
        LocalEngine(Handler(model, clients, Seeds(SEED), trainer=trainer, states=store)),
        breaks_after=breaks_after,
        loses=loses,
    )
    plain, weights = toy_run(
        path, selector=Planned(), rounds=5, seed=SEED, budget=3, held_out=0, per_round=per_round, **options
    )
    setting = replace(
        plain.setting,
        profiles={c: p for c, p in plain.setting.profiles.items() if c in clients},
        train=TrainPlan(steps=STEPS, epochs=None, batch_size=0, optimizer=optimizer, lr=LR, weight_decay=0.01),
        trainer=trainer.cost(TrainPlan(optimizer=optimizer)),
    )
    return replace(plain, setting=setting, engine=engine), weights, engine


def cohorts(made: Run) -> list[tuple[str, ...]]:
    return [tuple(map(str, made.setting.cohort(round, 0))) for round in range(5)]


def plain_loop(optimizer: Optimizer, order: Iterable[str], rounds: int) -> dict[str, Tensor]:
    """Return the weights after some rounds of one client each, written with torch alone."""
    clients = toy_clients(SIZES)
    weights = {name: p.detach().clone() for name, p in ToyNet().named_parameters()}
    memory: dict[str, dict[str, dict[str, Any]]] = {"a": {}, "b": {}}
    for client, mask in zip(order, MASKS[:rounds], strict=False):
        net = ToyNet()
        net.load_state_dict(weights)
        trained = {n: p for n, p in net.named_parameters() if n.startswith(("head", *(f"blocks.{i}" for i in mask)))}
        made: torch.optim.Optimizer
        if optimizer == "momentum":
            made = torch.optim.SGD(trained.values(), lr=LR, momentum=0.9, weight_decay=0.01)
        else:
            made = torch.optim.AdamW(trained.values(), lr=LR, weight_decay=0.01)
        for name, parameter in trained.items():
            if name in memory[client]:
                made.state[parameter] = {k: v.clone() for k, v in memory[client][name].items()}
        rows = clients[ClientId(client)]
        inputs, labels = rows.rows.take(rows.train)
        for _ in range(STEPS):
            net.zero_grad()
            nn.functional.cross_entropy(net(**inputs), labels).backward()
            made.step()
        memory[client] |= {n: {k: v.clone() for k, v in made.state[p].items()} for n, p in trained.items()}
        for name, parameter in trained.items():
            share = (parameter.detach() - weights[name]) * SIZES[client]  # the only one of its round
            weights[name] = share / SIZES[client] + weights[name]
    return weights


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_a_client_that_trains_in_rounds_one_and_three_has_the_bits_of_a_plain_loop(
    tmp_path: Path, optimizer: Optimizer
) -> None:
    made, weights, _ = run(tmp_path, optimizer)
    assert cohorts(made) == [("a",), ("b",), ("a",), ("a",), ("b",)]
    result = made.start(weights)
    expected = plain_loop(optimizer, "abaab", 5)
    assert same_bits(result.weights, {TensorName(n): expected[n] for n in weights})
    for rounds in (3, 5):
        fresh, weights, _ = run(tmp_path / f"new-{rounds}", optimizer, kept=False)
        assert not same_bits(fresh.start(weights).weights, result.weights)


def test_three_rounds_have_the_bits_of_a_plain_loop(tmp_path: Path) -> None:
    made, weights, _ = run(tmp_path)
    three = replace(made, schedule=replace(made.schedule, rounds=3))
    result, expected = three.start(weights), plain_loop("momentum", "aba", 3)
    assert same_bits(result.weights, {TensorName(n): expected[n] for n in weights})


def test_a_trainer_that_keeps_nothing_is_asked_for_no_state_and_leaves_no_folder(tmp_path: Path) -> None:
    made, weights, engine = run(tmp_path, kept=False)
    made.start(weights)
    assert {states for *_, states in engine.asked} == {None}
    assert not (tmp_path / "client-states").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a run of both clients in every round leaves that nothing interrupts."""
    path = tmp_path_factory.mktemp("whole")
    made, weights, _ = run(path, per_round=2)
    made.start(weights)
    return essence(path)


@pytest.mark.parametrize("checkpoint_every", [1, 2])
@pytest.mark.parametrize("trainings", [2, 3, 7])
def test_a_killed_run_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], checkpoint_every: int, trainings: int
) -> None:
    """Killed after so many trainings of two per round: within a round, between two, with rounds to be played again."""
    options: dict[str, Any] = {"per_round": 2, "checkpoint_every": checkpoint_every}
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_break_off", lambda *_: None)  # a kill lets nothing be written
        made, weights, _ = run(tmp_path, breaks_after=trainings, **options)
        with pytest.raises(SystemExit):
            made.start(weights)
    made, weights, _ = run(tmp_path, **options)
    made.resume(weights)
    assert essence(tmp_path) == whole


@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_a_run_goes_on_from_the_older_checkpoint_to_the_same_bits(
    tmp_path: Path, whole: dict[str, Any], checkpoint_every: int
) -> None:
    options: dict[str, Any] = {"per_round": 2, "checkpoint_every": checkpoint_every}
    made, weights, _ = run(tmp_path, stop=after(4), **options)
    made.start(weights)
    newest, older = generations(tmp_path / "checkpoints")
    assert older.name < newest.name
    (newest / "model.safetensors").write_bytes(b"damaged")
    made, weights, _ = run(tmp_path, **options)
    made.resume(weights)
    assert essence(tmp_path) == whole


def test_an_answer_that_did_not_count_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    """Client a trains in every round; its answers of the second and third are lost on their way."""
    made, weights, engine = run(tmp_path, per_round=2, loses=(("a", 1, 0), ("a", 2, 0)))
    made.start(weights)
    begun = {round: states for client, round, _, states in engine.asked if client == "a"}
    assert begun == {0: (), 1: ((0, 0),), 2: ((0, 0),), 3: ((0, 0),), 4: ((3, 0), (0, 0))}
    others = {round: states[:1] for client, round, _, states in engine.asked if client == "b" and states}
    assert others == {1: ((0, 0),), 2: ((1, 0),), 3: ((2, 0),), 4: ((3, 0),)}


def test_another_attempt_begins_with_the_state_of_before_and_not_with_that_of_the_abandoned_one(tmp_path: Path) -> None:
    rules = Rules(quorum=2, retries=3)
    made, weights, engine = run(tmp_path, per_round=2, loses=(("b", 1, 0), ("b", 1, 1)), rules=rules)
    made.start(weights)
    of_a = [(round, attempt, states and states[:1]) for client, round, attempt, states in engine.asked if client == "a"]
    assert of_a[:5] == [
        (0, 0, ()),
        (1, 0, ((0, 0),)),
        (1, 1, ((0, 0),)),
        (1, 2, ((0, 0),)),
        (2, 0, ((1, 2),)),
    ]


def test_a_client_keeps_no_more_versions_than_two_checkpoints_and_the_next_round_need(tmp_path: Path) -> None:
    for every in (1, 2, 5):
        made, weights, _ = run(tmp_path / str(every), per_round=2, checkpoint_every=every)
        made.start(weights)
        for folder in (tmp_path / str(every) / "client-states").glob("*/*"):
            assert 1 <= len(list(folder.iterdir())) <= 4


def test_a_state_that_is_gone_costs_the_client_its_answer_and_says_so(tmp_path: Path) -> None:
    made, weights, _ = run(tmp_path, per_round=2, stop=after(2))
    made.start(weights)
    (state,) = (tmp_path / "client-states").glob("*/a/0001-0.safetensors")
    state.unlink()
    made, weights, _ = run(tmp_path, per_round=2, stop=never)
    made.resume(weights)
    failures = [c for e in essence(tmp_path)["events"] if e["event"] == "client" and (c := e)["failure"]]
    assert {(c["client"], c["failure"]) for c in failures} == {("a", "CLIENT_ERROR")}
    assert failures[0]["failure_message"] == (
        "what the client kept after round 2 is not there any more (0001-0.safetensors); put it back, or start a new run"
    )


def test_a_place_for_states_is_needed() -> None:
    assert MOMENTS == {"sgd": 0, "momentum": 1, "adamw": 2}
    handler = Handler(toy_model(), toy_clients(SIZES), Seeds(0), trainer=Sgd("kept"))
    request = Train(ClientId("a"), 0, handler.model.weights(), frozenset({0}), TrainPlan(), states=())
    (reply,) = LocalEngine(handler).send([request])
    assert "there is no folder for it here" in getattr(reply, "message", "")
    assert TrainerCost() == Sgd().cost(TrainPlan())
