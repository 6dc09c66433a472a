"""Damage: every bit of a checkpoint, and hundreds of bits of journals and kept answers."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from faults.damage import (
    RECORDS,
    flip,
    flip_in_answers,
    flip_in_tail,
    result,
    small_checkpoint,
    snapshot,
    taken_for,
)
from faults.variants import VARIANTS, play

pytestmark = pytest.mark.soak


def test_every_single_bit_of_a_checkpoint_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path)
    seen: Counter[tuple[str, str]] = Counter()
    for file in sorted(path.iterdir()):
        for bit in range(file.stat().st_size * 8):
            flip(file, bit)
            seen[file.name, taken_for(path)] += 1
            flip(file, bit)
    print(f"\n{dict(seen)}")
    assert all(file == "state.json" for file, taken in seen if taken == "the same")


def test_every_length_of_a_checkpoints_files_is_refused(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path)
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for length in range(len(content)):
            file.write_bytes(content[:length])
            assert taken_for(path) == "refused", (file.name, length)
        file.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_in_tail, flip_in_answers], ids=["journal", "kept answers"])
@pytest.mark.parametrize("kind", RECORDS)
def test_a_hundred_flipped_bits_of_what_was_kept_cost_only_work(
    tmp_path: Path, damage: Callable[[Path, random.Random], None], kind: str
) -> None:
    torch.set_num_threads(1)
    variant, rng = VARIANTS[kind], random.Random(kind)
    with pytest.MonkeyPatch.context() as patch:
        left = snapshot(tmp_path, variant, records=RECORDS[kind], patch=patch)
    whole = result(play(tmp_path / "whole", variant))
    for trial in range(100):
        folder = shutil.copytree(left, tmp_path / str(trial))
        damage(folder, rng)
        assert result(play(folder, variant)) == whole
        shutil.rmtree(folder)
