"""Resuming: the same bits as an unbroken run, from wherever it was broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.aggregators.protocol import Aggregator, AggregatorState
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import CheckpointError
from fedstrata.runs.folder import RunFolder
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Full, Top
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import Selector
from fedstrata.selectors.random import Random
from fedstrata.selectors.warmup import Warmup
from fedstrata.wire.messages import Weights
from small_runs import after, essence, events, toy_run
from toys import same_bits

SELECTORS: list[Selector] = [
    Consensus(),
    Periodic(every=3, inner=Independent()),
    Periodic(every=2, inner=Random()),
    Warmup(rounds=2, inner=Consensus(rho=-1.0)),
]
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Momentum:
    """A server that remembers: each change is the mean delta plus half of the last change."""

    def init(self, weights: Weights, layers: LayerMap) -> AggregatorState:
        return AggregatorState({name: torch.zeros_like(t) for name, t in weights.items()})

    def apply(self, weights: Weights, updates: object, state: AggregatorState) -> tuple[Weights, AggregatorState]:
        moved, _ = LayerwiseMean().apply(weights, updates, state)  # type: ignore[arg-type]
        change = {n: moved[n] - weights[n] + 0.5 * state.tensors[n] for n in weights}
        return {n: weights[n] + change[n] for n in weights}, AggregatorState(change)


Whole = Callable[..., tuple[Weights, Path]]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return a function that plays a run to its end, once, and returns its weights and its folder."""

    @cache
    def play(selector: Selector, **options: float) -> tuple[Weights, Path]:
        path = tmp_path_factory.mktemp("whole")
        return played(path, selector, **options), path

    return play


def played(path: Path, selector: Selector, **options: float) -> Weights:
    run, weights = toy_run(path, selector=selector, rounds=ROUNDS, dropout=0.2, per_round=3, **options)  # type: ignore[arg-type]
    return run.start(weights).weights


def broken(path: Path, selector: Selector, *, at: int, **options: float) -> Weights:
    run, weights = toy_run(
        path,
        selector=selector,
        rounds=ROUNDS,
        dropout=0.2,
        per_round=3,
        stop=after(at),
        **options,  # type: ignore[arg-type]
    )
    assert run.start(weights).state == "interrupted"
    return resumed(path, selector, **options)


def resumed(path: Path, selector: Selector, **options: float) -> Weights:
    run, weights = toy_run(path, selector=selector, rounds=ROUNDS, dropout=0.2, per_round=3, **options)  # type: ignore[arg-type]
    result = run.resume(weights)
    assert result.state == "finished"
    return result.weights


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
@pytest.mark.parametrize("at", [1, 4])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, unbroken: Whole, selector: Selector, at: int
) -> None:
    whole, there = unbroken(selector)
    assert same_bits(broken(tmp_path / "broken", selector, at=at), whole)
    assert essence(tmp_path / "broken") == essence(there)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_interrupted_run_goes_on_with_the_scores_that_rode(
    tmp_path: Path, unbroken: Whole, selector: Selector, at: int
) -> None:
    whole, there = unbroken(selector, piggyback=True)
    assert same_bits(broken(tmp_path / "broken", selector, at=at, piggyback=True), whole)
    assert essence(tmp_path / "broken") == essence(there)
    ages = {e["round"] - e["probe_round"] for e in events(there, "client") if e["scores"]}
    assert not ages or 1 in ages


@pytest.mark.parametrize("at", [1, 3])
def test_scores_that_were_piggybacked_are_saved_with_rare_checkpoints_too(
    tmp_path: Path, unbroken: Whole, at: int
) -> None:
    whole, there = unbroken(Consensus(), piggyback=True, checkpoint_every=3)
    assert same_bits(broken(tmp_path / "broken", Consensus(), at=at, piggyback=True, checkpoint_every=3), whole)
    assert essence(tmp_path / "broken") == essence(there)


@pytest.mark.parametrize("at", [1, 3])
def test_rare_evaluations_and_checkpoints_do_not_change_that(tmp_path: Path, unbroken: Whole, at: int) -> None:
    whole, there = unbroken(Consensus(), evaluate_every=2, checkpoint_every=3)
    assert same_bits(broken(tmp_path / "broken", Consensus(), at=at, evaluate_every=2, checkpoint_every=3), whole)
    assert essence(tmp_path / "broken") == essence(there)


def test_it_can_be_interrupted_again_and_again(tmp_path: Path, unbroken: Whole) -> None:
    whole, there = unbroken(Consensus())
    run, weights = toy_run(tmp_path / "b", selector=Consensus(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(1))
    run.start(weights)
    for _ in range(2):
        run, weights = toy_run(
            tmp_path / "b", selector=Consensus(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(1)
        )
        assert run.resume(weights).state == "interrupted"
    assert same_bits(resumed(tmp_path / "b", Consensus()), whole)
    assert essence(tmp_path / "b") == essence(there)


def test_an_aggregator_that_remembers_goes_on_remembering(tmp_path: Path) -> None:
    def play(path: Path, stop_at: int | None) -> Weights:
        aggregator: Aggregator = Momentum()
        if stop_at:
            run, weights = toy_run(path, selector=Full(), budget=3, aggregator=aggregator, stop=after(stop_at))
            run.start(weights)
        run, weights = toy_run(path, selector=Full(), budget=3, aggregator=aggregator)
        return (run.resume(weights) if stop_at else run.start(weights)).weights

    assert same_bits(play(tmp_path / "broken", 1), play(tmp_path / "whole", None))


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path, unbroken: Whole) -> None:
    whole, there = unbroken(Consensus())
    run, weights = toy_run(tmp_path / "b", selector=Consensus(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(1))
    run.start(weights)
    shutil.rmtree(tmp_path / "b" / "checkpoints")
    (tmp_path / "b" / "checkpoints").mkdir()
    assert same_bits(resumed(tmp_path / "b", Consensus()), whole)
    assert essence(tmp_path / "b") == essence(there)


def test_a_run_with_none_but_copies_of_checkpoints_says_so_and_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, weights = toy_run(tmp_path / "b", selector=Top(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(2))
    run.start(weights)
    kept = tmp_path / "b" / "checkpoints"
    names = [f"{path.name}.bak" for path in sorted(kept.iterdir()) if path.rename(f"{path}.bak")]
    assert same_bits(resumed(tmp_path / "b", Top()), played(tmp_path / "whole", Top()))
    assert (
        f"{kept} holds no checkpoint, only {', '.join(names)}, which is left alone; the run begins anew" in caplog.text
    )
    assert {*names} <= {path.name for path in kept.iterdir()}
    assert caplog.text.count("begins anew") == 1  # and not for the unbroken run, which has none


def test_what_was_logged_after_the_last_checkpoint_is_played_again(tmp_path: Path, unbroken: Whole) -> None:
    whole, there = unbroken(Top())
    run, weights = toy_run(tmp_path / "b", selector=Top(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(2))
    run.start(weights)
    with (tmp_path / "b" / "events.jsonl").open("a") as log:
        log.write('{"event": "client", "schema": 1, "round": 2, "torn')
    assert same_bits(resumed(tmp_path / "b", Top()), whole)
    assert essence(tmp_path / "b") == essence(there)


@pytest.mark.parametrize("file", ["state.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_older_one_with_a_warning(
    tmp_path: Path, unbroken: Whole, caplog: pytest.LogCaptureFixture, file: str, damage: str
) -> None:
    whole, there = unbroken(Top())
    run, weights = toy_run(tmp_path / "b", selector=Top(), rounds=ROUNDS, dropout=0.2, per_round=3, stop=after(3))
    run.start(weights)
    spoil(tmp_path / "b" / "checkpoints" / "round-0003" / file, damage)
    assert same_bits(resumed(tmp_path / "b", Top()), whole)
    assert "round-0003 cannot be read" in caplog.text
    assert "trying the older one" in caplog.text
    assert essence(tmp_path / "b") == essence(there)


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = content.index(b"round") if path.suffix == ".json" else len(content) - 5
        content[middle] ^= 1
        path.write_bytes(content)


def test_two_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=ROUNDS, stop=after(2))
    run.start(weights)
    for path in (tmp_path / "checkpoints").iterdir():
        spoil(path / "model.safetensors", "cut")
    run, weights = toy_run(tmp_path, rounds=ROUNDS)
    with pytest.raises(CheckpointError, match=r"round-0002 cannot be read: model.safetensors is not as it was written"):
        run.resume(weights)


def test_a_log_that_was_cut_is_an_error(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=ROUNDS, stop=after(2))
    run.start(weights)
    RunFolder(tmp_path).truncate(10)
    run, weights = toy_run(tmp_path, rounds=ROUNDS)
    with pytest.raises(CheckpointError, match=r"has 10 bytes, the checkpoint expects \d+; it was cut"):
        run.resume(weights)


def test_another_seed_is_refused(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path, rounds=ROUNDS, stop=after(1))
    run.start(weights)
    run, weights = toy_run(tmp_path, rounds=ROUNDS, seed=1)
    with pytest.raises(CheckpointError, match="belongs to seed 0, the configuration says 1"):
        run.resume(weights)
