"""The journal and the kept answers only save work: damage to them never changes what comes out."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from faults.damage import RECORDS, flip_in_answers, flip_in_tail, result, snapshot
from faults.variants import VARIANTS, play

KINDS = tuple(RECORDS)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {kind: result(play(tmp_path_factory.mktemp("whole"), VARIANTS[kind])) for kind in KINDS}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        return {
            kind: snapshot(tmp_path_factory.mktemp("left"), VARIANTS[kind], records=records, patch=patch)
            for kind, records in RECORDS.items()
        }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_the_journals_tail_costs_only_work(
    tmp_path: Path,
    left: dict[str, Path],
    whole: dict[str, dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    seed: int,
) -> None:
    folder = shutil.copytree(left[kind], tmp_path / "run")
    flip_in_tail(folder, random.Random(seed))
    assert result(play(folder, VARIANTS[kind])) == whole[kind]
    assert "are damaged and left out" in caplog.text or caplog.text == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_kept_answer_that_is_damaged_is_asked_for_again(
    tmp_path: Path,
    left: dict[str, Path],
    whole: dict[str, dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    seed: int,
) -> None:
    folder = shutil.copytree(left[kind], tmp_path / "run")
    flip_in_answers(folder, random.Random(seed))
    assert result(play(folder, VARIANTS[kind])) == whole[kind]
    assert "asking again" in caplog.text


@pytest.mark.parametrize("what", ["journal.jsonl", "accepted"])
def test_a_journal_or_answers_that_are_gone_cost_only_work(
    tmp_path: Path, left: dict[str, Path], whole: dict[str, dict[str, Any]], what: str
) -> None:
    folder = shutil.copytree(left["layer quorum"], tmp_path / "run")
    if what == "accepted":
        shutil.rmtree(folder / what)
    else:
        os.truncate(folder / what, 0)
    assert result(play(folder, VARIANTS["layer quorum"])) == whole["layer quorum"]


def test_the_logs_tail_behind_the_checkpoint_is_cut_whatever_it_holds(
    tmp_path: Path, left: dict[str, Path], whole: dict[str, dict[str, Any]]
) -> None:
    folder = shutil.copytree(left["layer quorum"], tmp_path / "run")
    with (folder / "events.jsonl").open("ab") as log:
        log.write(os.urandom(1000))
    assert result(play(folder, VARIANTS["layer quorum"])) == whole["layer quorum"]
