"""What a power failure may not undo is on disk before anything that relies on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.damage import small_checkpoint
from faults.variants import Variant, play
from fedstrata.files import append, write_atomic

Step = tuple[str, str]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Step]]:
    """Record what is synced and renamed below the test's folder, by name; ``.`` is the folder itself."""
    seen: list[Step] = []
    sync, rename, replace = os.fsync, os.rename, os.replace

    def name_of(descriptor: int) -> str:
        number = os.fstat(descriptor).st_ino
        return next((str(p.relative_to(tmp_path)) for p in _tree(tmp_path) if p.stat().st_ino == number), "elsewhere")

    def synced(descriptor: int) -> None:
        sync(descriptor)
        seen.append(("sync", name_of(descriptor)))

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        seen.append(("rename", str(Path(target).relative_to(tmp_path))))

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        seen.append(("rename", str(Path(target).relative_to(tmp_path))))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "replace", replaced)
    yield seen
    monkeypatch.undo()


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def test_a_checkpoint_is_on_disk_before_its_name_is(tmp_path: Path, steps: list[Step]) -> None:
    small_checkpoint(tmp_path)
    names = ("aggregator.safetensors", "model.safetensors", "state.json")
    assert sorted(steps[:3]) == [("sync", f".round-0003.tmp/{name}") for name in names]
    assert steps[3:] == [("sync", ".round-0003.tmp"), ("rename", "round-0003"), ("sync", ".")]


def test_a_replaced_file_is_on_disk_before_its_name_is(tmp_path: Path, steps: list[Step]) -> None:
    write_atomic(tmp_path / "a.txt", "new")
    assert steps == [("sync", ".a.txt.tmp"), ("rename", "a.txt"), ("sync", ".")]


def test_the_name_of_a_new_file_is_synced_with_its_first_bytes(tmp_path: Path, steps: list[Step]) -> None:
    append(tmp_path / "log", b"one", durable=True)
    append(tmp_path / "log", b"two", durable=True)
    assert steps == [("sync", "log"), ("sync", "."), ("sync", "log")]


def test_log_and_journal_are_on_disk_before_the_checkpoint_that_vouches_for_them(
    tmp_path: Path, steps: list[Step]
) -> None:
    play(tmp_path, Variant())
    for round in range(1, 5):
        saved = steps.index(("rename", f"checkpoints/round-{round:04d}"))
        since = steps.index(("rename", f"checkpoints/round-{round - 1:04d}")) if round > 1 else 0
        before = [name for kind, name in steps[since:saved] if kind == "sync"]
        assert before.index("events.jsonl") < before.index("journal.jsonl") < len(before) - 3
        assert steps[saved + 1] == ("sync", "checkpoints")


def test_every_table_is_on_disk_before_its_name_is(tmp_path: Path, steps: list[Step]) -> None:
    play(tmp_path, Variant())
    for name in ("metrics.csv", "selection.parquet", "summary.json"):
        place = steps.index(("rename", name))
        assert (steps[place - 1], steps[place + 1]) == (("sync", f".{name}.tmp"), ("sync", "."))
