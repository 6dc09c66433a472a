"""A run: what it leaves, when it looks and saves, how it ends."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import Metrics
from fedstrata.engines.local import LocalEngine
from fedstrata.errors import CheckpointError, StorageError, TrainingError
from fedstrata.selectors.consensus import Consensus
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Evaluate, Evaluated, Failure, Reply, Request, Train, Weights
from small_runs import after, essence, events, toy_run
from toy_runs import toy_engine
from toys import toy_clients, toy_model


def test_a_finished_run_says_so_in_log_and_summary(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=2)
    result = run.start(weights)
    assert result.state == "finished"
    assert [e["event"] for e in events(tmp_path)] == (["run", "baseline"] + (["client"] * 4 + ["round"]) * 2 + ["end"])
    assert result.summary == json.loads((tmp_path / "summary.json").read_text())
    assert (result.summary["rounds"], result.summary["planned_rounds"]) == (2, 2)


def test_same_seed_same_bits_and_another_seed_differs(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run, weights = toy_run(tmp_path / name, selector=Consensus(), dropout=0.2, per_round=3, seed=seed)
        run.start(weights)
    assert essence(tmp_path / "a") == essence(tmp_path / "b")
    assert essence(tmp_path / "a") != essence(tmp_path / "c")


def test_it_evaluates_when_it_is_due_and_at_the_end(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=5, evaluate_every=2)
    run.start(weights)
    assert [e["test"] is not None for e in events(tmp_path, "round")] == [False, True, False, True, True]


def test_it_keeps_the_last_two_checkpoints(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=5, checkpoint_every=2)
    run.start(weights)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["round-0004", "round-0005"]


def test_a_stop_ends_after_the_round_and_saves_it_although_no_checkpoint_is_due(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=5, checkpoint_every=4, stop=after(1))
    assert run.start(weights).state == "interrupted"
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["round-0001"]
    assert events(tmp_path, "end")[0]["state"] == "interrupted"


def test_a_stop_in_the_last_round_changes_nothing(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=2, stop=after(2))
    assert run.start(weights).state == "finished"


def test_only_clients_that_hold_rows_out_are_asked_to_evaluate_and_the_results_are_the_same(tmp_path: Path) -> None:
    clients = toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}, held_out=3)
    for name in ("b", "d"):
        clients[ClientId(name)] = replace(clients[ClientId(name)], held_out=torch.arange(0))
    asked: dict[str, list[str]] = {}
    for case, told in (("known", True), ("not known", False)):
        engine, seen = toy_engine(toy_model(), clients), asked.setdefault(case, [])

        def script(request: Request, engine: LocalEngine = engine, seen: list[str] = seen) -> Reply:
            if isinstance(request, Evaluate):
                seen.append(request.client)
            (reply,) = engine.send([request])
            return reply

        run, weights = toy_run(tmp_path / case, engine=ScriptedEngine(script), rounds=2)
        profiles = {
            c: replace(p, held_out=len(clients[c].held_out) if told else None) for c, p in run.setting.profiles.items()
        }
        replace(run, setting=replace(run.setting, profiles=profiles)).start(weights)
    assert asked == {"known": ["a", "c"] * 3, "not known": ["a", "b", "c", "d"] * 3}
    assert essence(tmp_path / "known") == essence(tmp_path / "not known")


def test_where_nobody_holds_rows_out_nobody_is_asked(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        assert not isinstance(request, Evaluate)
        (reply,) = engine.send([request])
        return reply

    engine = toy_engine(toy_model(), toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}))
    run, weights = toy_run(tmp_path, engine=ScriptedEngine(script), held_out=0, rounds=1)
    profiles = {c: replace(p, held_out=0) for c, p in run.setting.profiles.items()}
    result = replace(run, setting=replace(run.setting, profiles=profiles)).start(weights)
    assert (result.state, result.summary["best"]["chosen_on"]) == ("finished", "last round")


def scripted(tmp_path: Path, *, test: list[float], held_out: list[float]) -> None:
    """Play a run whose accuracies are written down: on the test rows, and on the held-out rows."""
    model, clients = toy_model(), toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}, held_out=3)
    engine = toy_engine(model, clients)

    def script(request: Request) -> Reply:
        (reply,) = engine.send([request])
        if isinstance(request, Evaluate):
            assert isinstance(reply, Evaluated)
            return replace(reply, correct=round(held_out[request.round] * 3))
        return reply

    answers = iter([Metrics(a, 1.0, 40) for a in test])
    run, weights = toy_run(tmp_path, engine=ScriptedEngine(script), test=lambda _: next(answers), rounds=len(test) - 1)
    run.start(weights)


def test_the_best_round_is_chosen_on_held_out_rows(tmp_path: Path) -> None:
    """Held-out rows prefer round 1, the test rows round 2; the one reported is round 1 at its test accuracy."""
    scripted(tmp_path, test=[0.1, 0.5, 0.9, 0.6], held_out=[0.0, 1.0, 1 / 3, 2 / 3])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["best"] == {"round": 1, "validation": 1.0, "accuracy": 0.5, "chosen_on": "held-out"}
    assert (summary["final"]["accuracy"], summary["final"]["round"]) == (0.6, 3)


def test_the_start_may_be_best(tmp_path: Path) -> None:
    scripted(tmp_path, test=[0.3, 0.9], held_out=[1.0, 0.0])
    assert json.loads((tmp_path / "summary.json").read_text())["best"]["round"] == 0


def test_a_tie_keeps_the_earlier_round(tmp_path: Path) -> None:
    scripted(tmp_path, test=[0.0, 0.4, 0.9], held_out=[0.0, 1.0, 1.0])
    assert json.loads((tmp_path / "summary.json").read_text())["best"]["accuracy"] == 0.4


def test_without_held_out_rows_no_round_is_chosen(tmp_path: Path) -> None:
    answers = iter([Metrics(a, 1.0, 40) for a in (0.1, 0.9, 0.4)])
    run, weights = toy_run(tmp_path, held_out=0, rounds=2, test=lambda _: next(answers))
    best = run.start(weights).summary["best"]
    assert best == {"accuracy": 0.4, "loss": 1.0, "round": 2, "chosen_on": "last round"}


def failing(tmp_path: Path, error: BaseException, *, in_round: int, **options: int) -> None:
    model, clients = toy_model(), toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}, held_out=3)
    engine = toy_engine(model, clients)

    def script(request: Request) -> Reply:
        if isinstance(request, Train) and request.round == in_round:
            raise error
        (reply,) = engine.send([request])
        return reply

    run, weights = toy_run(tmp_path, engine=ScriptedEngine(script), rounds=6, **options)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        run.start(weights)


def test_a_run_that_fails_keeps_its_whole_rounds_readable(tmp_path: Path) -> None:
    failing(tmp_path, TrainingError("no way on"), in_round=2)
    assert len(events(tmp_path, "round")) == 2
    assert events(tmp_path, "client")[-1]["round"] == 2
    end = events(tmp_path, "end")
    assert [(e["state"], e["message"]) for e in end] == [("failed", "no way on")]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["state"], summary["rounds"], summary["planned_rounds"]) == ("failed", 2, 6)


def test_a_run_that_fails_between_checkpoints_saves_the_rounds_before(tmp_path: Path) -> None:
    failing(tmp_path, TrainingError("no way on"), in_round=2, checkpoint_every=5)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["round-0002"]


def test_a_second_ctrl_c_is_an_interruption_not_a_failure(tmp_path: Path) -> None:
    failing(tmp_path, KeyboardInterrupt(), in_round=1)
    assert events(tmp_path, "end")[0]["state"] == "interrupted"


def test_a_loss_that_is_not_finite_before_training_blames_the_model(tmp_path: Path) -> None:
    def broken(_: Weights) -> Metrics:
        return Metrics(0.1, float("nan"), 40)

    run, weights = toy_run(tmp_path, test=broken)
    with pytest.raises(TrainingError, match="the test loss is nan before training; look at the model's weights"):
        run.start(weights)
    assert [e["event"] for e in events(tmp_path)] == ["run", "end"]
    assert json.loads((tmp_path / "summary.json").read_text())["final"] is None


def test_a_loss_that_is_not_finite_after_a_round_says_which(tmp_path: Path) -> None:
    answers = iter([Metrics(0.1, 1.0, 40), Metrics(0.1, float("inf"), 40)])
    run, weights = toy_run(tmp_path, test=lambda _: next(answers))
    with pytest.raises(TrainingError, match=r"after round 1 the test loss is inf; lower train.lr"):
        run.start(weights)
    assert events(tmp_path, "round") == []


def test_a_client_that_cannot_be_evaluated_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, clients = toy_model(), toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}, held_out=3)
    engine = toy_engine(model, clients)

    def script(request: Request) -> Reply:
        if isinstance(request, Evaluate) and request.client == "b":
            return Failure(request.client, request.round, "evaluate", Reason.CLIENT_ERROR, "lost")
        (reply,) = engine.send([request])
        return reply

    run, weights = toy_run(tmp_path, engine=ScriptedEngine(script), rounds=1)
    run.start(weights)
    assert set(events(tmp_path, "round")[0]["client_accuracy"]) == {"a", "c", "d"}
    assert "client b is left out of the evaluation after 1 rounds: lost" in caplog.text


@pytest.mark.parametrize("during", ["a round", "between two"])
def test_a_run_whose_folder_is_deleted_writes_into_no_other(
    tmp_path: Path, during: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lock went with the folder, so a new run may lie there before the old one has noticed."""
    folder, left, sent = tmp_path / "out", [], []
    run, weights = toy_run(folder, rounds=4)
    engine = toy_engine(toy_model(), toy_clients({"a": 12, "b": 6, "c": 9, "d": 7}, held_out=3))

    def start_another() -> None:
        shutil.rmtree(folder)
        other, at_start = toy_run(folder)
        assert other.start(at_start).state == "finished"
        left.append(_contents(folder))

    def script(request: Request) -> Reply:
        sent.append(request)
        if during == "a round" and len(sent) == 6:
            start_another()
        (reply,) = engine.send([request])
        return reply

    def between() -> bool:
        if during == "between two":
            start_another()
        return False

    run = replace(run, engine=ScriptedEngine(script), stop=between)
    with pytest.raises(StorageError, match="was deleted or moved while its run was playing"):
        run.start(weights)
    assert left == [_contents(folder)]
    assert caplog.text == ""


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_whose_folder_is_moved_goes_on_from_there(tmp_path: Path) -> None:
    folder, moved = tmp_path / "out", tmp_path / "moved"

    def move() -> bool:
        folder.rename(moved)
        return False

    run, weights = toy_run(folder, stop=move)
    with pytest.raises(StorageError, match="if it was moved, go on with: fedstrata resume FOLDER"):
        run.start(weights)
    assert not folder.exists()
    again, weights = toy_run(moved)
    assert again.resume(weights).state == "finished"


def test_a_run_that_another_process_plays_is_left_alone(tmp_path: Path) -> None:
    """A server that seemed to be gone may still be at it: two that write one folder would count updates twice."""
    tried: list[str] = []

    def try_too() -> bool:
        other, weights = toy_run(tmp_path)
        with pytest.raises(CheckpointError, match="is being played by another process; wait for it, or end it"):
            other.resume(weights)
        tried.append((tmp_path / "events.jsonl").read_text())
        return False

    run, weights = toy_run(tmp_path, rounds=2, stop=try_too)
    assert run.start(weights).state == "finished"
    assert len(tried) == 2
    again, weights = toy_run(tmp_path, rounds=3)
    assert again.resume(weights).state == "finished"
