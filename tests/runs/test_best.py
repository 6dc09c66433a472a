"""The best round's weights are there in the end, whatever happened on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.errors import CheckpointError, StorageError
from fedstrata.runs.best import BestWeights
from fedstrata.server.run import Run
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.messages import Evaluate, Evaluated, Reply, Request
from small_runs import SIZES, after, never, toy_run
from toy_runs import toy_engine
from toys import same_bits, toy_clients, toy_model

HELD_OUT = (0, 1, 3, 2, 3)
"""Rows of three that every client gets right after each round: the third is best, and a tie keeps it."""


def played(folder: Path, *, stop: int | None = None, right: Sequence[int] = HELD_OUT, every: int = 1) -> Run:
    inner = toy_engine(toy_model(), toy_clients(SIZES, held_out=3))

    def script(request: Request) -> Reply:
        (reply,) = inner.send([request])
        if isinstance(request, Evaluate):
            assert isinstance(reply, Evaluated)
            return replace(reply, correct=right[request.round])
        return reply

    run, _ = toy_run(
        folder,
        rounds=4,
        engine=ScriptedEngine(script),
        stop=after(stop) if stop else never,
        checkpoint_every=every,
    )
    return replace(run, best=BestWeights(folder / "best"))


def test_the_weights_of_the_best_round_are_kept_and_no_others(tmp_path: Path) -> None:
    weights = toy_model().weights()
    result = played(tmp_path / "a").start(weights)
    two, _ = toy_run(tmp_path / "two", rounds=4, stop=after(2))
    assert result.summary["best"]["round"] == 2
    assert [path.name for path in (tmp_path / "a" / "best").iterdir()] == ["round-0002.safetensors"]
    assert same_bits(BestWeights(tmp_path / "a" / "best").load(2), two.start(weights).weights)


def test_the_start_may_be_best(tmp_path: Path) -> None:
    weights = toy_model().weights()
    result = played(tmp_path, right=(3, 0, 1, 2, 2)).start(weights)
    assert result.summary["best"]["round"] == 0
    assert same_bits(BestWeights(tmp_path / "best").load(0), weights)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_goes_on_has_the_same_best_weights(tmp_path: Path, stop: int, every: int) -> None:
    weights = toy_model().weights()
    played(tmp_path / "whole", every=every).start(weights)
    played(tmp_path / "cut", stop=stop, every=every).start(weights)
    result = played(tmp_path / "cut", every=every).resume(weights)
    assert result.summary["best"]["round"] == 2
    whole, cut = (BestWeights(tmp_path / name / "best").load(2) for name in ("whole", "cut"))
    assert same_bits(whole, cut)


def test_weights_of_a_time_that_did_not_happen_are_not_taken(tmp_path: Path) -> None:
    """The checkpoint's best stays although a later one had been kept when the process was killed."""
    weights = toy_model().weights()
    played(tmp_path, stop=2).start(weights)
    BestWeights(tmp_path / "best").save(3, weights)
    result = played(tmp_path).resume(weights)
    assert result.summary["best"]["round"] == 2
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["round-0002.safetensors"]


def test_without_the_wish_nothing_is_kept(tmp_path: Path) -> None:
    run, weights = toy_run(tmp_path)
    run.start(weights)
    assert not (tmp_path / "best").exists()


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    best = BestWeights(tmp_path / "best")
    with pytest.raises(
        CheckpointError, match=r"round-0002.safetensors holds the best round's weights and cannot be read"
    ):
        best.load(2)
    best.save(2, toy_model().weights())
    (tmp_path / "best" / "round-0002.safetensors").write_bytes(b"12345")
    with pytest.raises(CheckpointError, match="cannot be read"):
        best.load(2)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "best").write_text("in the way")
    with pytest.raises(StorageError, match="the best round's weights cannot be written"):
        BestWeights(tmp_path / "best").save(1, toy_model().weights())
