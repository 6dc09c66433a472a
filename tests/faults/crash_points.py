"""Named points at which a process kills itself, put in from outside: the product knows nothing of them."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import fedstrata.runs.checkpoint as checkpoint
import fedstrata.runs.folder as folder
import fedstrata.runs.journal as journal
import fedstrata.runs.result_files as tables
import fedstrata.server.round as rounds
import fedstrata.server.session as session
from fedstrata.client.handler import Handler
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.journal_records import Accepted, Lost, Record

When = Literal["before", "after"]
Chosen = Callable[..., bool]
COHORT = 3


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die.

    Attributes:
        arm: Makes the n-th visit of the place the last.
        most: Largest n that every variant named here reaches.
        variants: Variants of the run that come by; empty for all.
    """

    arm: Callable[[int], None]
    most: int = 4
    variants: tuple[str, ...] = ()


def die() -> None:
    """End this process as a power cut would, without a goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def at(owner: object, name: str, when: When, chosen: Chosen = lambda *_, **__: True) -> Callable[[int], None]:
    """Die before or after the n-th call of a function whose arguments are chosen."""

    def arm(nth: int) -> None:
        original = getattr(owner, name)
        left = nth

        @wraps(original)
        def armed(*args: object, **options: object) -> object:
            nonlocal left
            wanted = chosen(*args, **options)
            left -= wanted
            if wanted and left == 0 and when == "before":
                die()
            result = original(*args, **options)
            if wanted and left == 0:
                die()
            return result

        setattr(owner, name, armed)

    return arm


def half_way(module: ModuleType, suffix: str) -> Callable[[int], None]:
    """Die when half of the bytes of the n-th append to a kind of file are written."""

    def arm(nth: int) -> None:
        original = getattr(module, "append")  # noqa: B009
        left = nth

        def armed(path: Path, data: bytes, *, durable: bool) -> int:
            nonlocal left
            left -= path.name.endswith(suffix)
            if path.name.endswith(suffix) and left == 0:
                with path.open("ab", buffering=0) as file:
                    file.write(data[: len(data) // 2])
                die()
            done: int = original(path, data, durable=durable)
            return done

        setattr(module, "append", armed)  # noqa: B010

    return arm


def half_a_model(nth: int) -> None:
    """Die when half of the n-th checkpoint's weights are written."""

    original, left = getattr(checkpoint, "save_file"), nth  # noqa: B009  it is not exported

    def armed(tensors: object, path: Path) -> None:
        nonlocal left
        left -= 1
        original(tensors, path)
        if left == 0:
            os.truncate(path, path.stat().st_size // 2)
            die()

    setattr(checkpoint, "save_file", armed)  # noqa: B010


def half_a_generation(nth: int) -> None:
    """Die when one file of the n-th checkpoint that is dropped is gone and the others are not."""
    original: Callable[..., None] = shutil.rmtree
    left = nth

    def armed(path: Path, *args: object, **options: object) -> None:
        nonlocal left
        wanted = Path(path).name.startswith("round-")
        left -= wanted
        if wanted and left == 0:
            next(Path(path).iterdir()).unlink()
            die()
        original(path, *args, **options)

    setattr(shutil, "rmtree", armed)  # noqa: B010


def last_of(phase: str) -> Chosen:
    """Choose the journal's record of the last outcome of a phase."""
    seen: Counter[tuple[int, int]] = Counter()

    def chosen(_journal: FileJournal, record: Record, **_options: object) -> bool:
        if not isinstance(record, Accepted | Lost) or record.key.phase != phase:
            return False
        attempt = (record.key.round, record.key.attempt)
        seen[attempt] += 1
        return seen[attempt] == COHORT

    return chosen


def renamed_to(start: str, end: str = "") -> Chosen:
    """Choose renames by their target's name."""
    return lambda _path, target: bool(target.name.startswith(start) and target.name.endswith(end))


def rounds_only(_folder: RunFolder, logged: list[Mapping[str, Any]]) -> bool:
    """Choose what is appended to the log for a round."""
    return bool(logged[-1]["event"] == "round")


def generation(path: Path, *_args: object, **_options: object) -> bool:
    """Choose the removal of a checkpoint."""
    return Path(path).name.startswith("round-")


PROBING = ("plain", "kept", "layer quorum", "flaky", "flaky, kept", "flaky, layer quorum", "fickle")
STEADY = ("plain", "kept", "layer quorum", "fickle", "piggybacking")
KEPT = ("kept", "layer quorum", "flaky, kept", "flaky, layer quorum", "fickle")
EVERY = ("plain", "layer quorum", "flaky", "flaky, layer quorum")
LOSING = ("flaky", "flaky, kept", "flaky, layer quorum")
SAVED_TWICE = ("flaky", "flaky, layer quorum")

POINTS: Mapping[str, Point] = {
    "before the last probe is journalled": Point(at(FileJournal, "_write", "before", last_of("probe")), 4, PROBING),
    "after the last probe is journalled": Point(at(FileJournal, "_write", "after", last_of("probe")), 4, PROBING),
    "after an answer is journalled, before its use": Point(at(FileJournal, "accept", "after"), 12),
    "half of a journal record": Point(half_way(journal, "journal.jsonl"), 16),
    "half of a kept answer": Point(half_way(journal, ".frames"), 8, KEPT),
    "between a kept answer and its record": Point(
        at(journal, "append", "after", lambda p, *_, **__: p.suffix == ".frames"), 8, KEPT
    ),
    "after the selection": Point(at(rounds, "check", "after"), 3),
    "after the last update": Point(at(FileJournal, "_write", "after", last_of("train")), 4, STEADY),
    "before the round is logged": Point(at(RunFolder, "append", "before", rounds_only)),
    "half of the round's log": Point(half_way(folder, "events.jsonl"), 5),
    "after the round is logged": Point(at(RunFolder, "append", "after", rounds_only)),
    "before the journal's commit": Point(at(FileJournal, "commit", "before"), 2),
    "after the journal's commit": Point(at(FileJournal, "commit", "after"), 2),
    "half of the checkpoint's weights": Point(half_a_model, 2),
    "between the checkpoint's files": Point(at(checkpoint, "save_file", "after"), 2),
    "before the checkpoint's rename": Point(at(Path, "rename", "before", renamed_to("round-")), 2),
    "between the rename and the folder's sync": Point(at(Path, "rename", "after", renamed_to("round-")), 2),
    "before the older checkpoint is dropped": Point(at(shutil, "rmtree", "before", generation), 1, EVERY),
    "while the older checkpoint is dropped": Point(half_a_generation, 1, EVERY),
    "between the two renames of a second save": Point(
        at(Path, "rename", "after", renamed_to(".round-", ".old")), 1, SAVED_TWICE
    ),
    "before an abandonment is journalled": Point(at(FileJournal, "abandon", "before"), 2, LOSING),
    "after an abandonment is journalled": Point(at(FileJournal, "abandon", "after"), 2, LOSING),
    "after an abandonment is saved": Point(at(session.Session, "_abandon", "after"), 2, LOSING),
    "during an evaluation": Point(at(Handler, "_evaluate", "after"), 10),
    "before the end is logged": Point(at(session.Session, "_close", "before"), 1),
    "before the tables": Point(at(session, "write_tables", "before"), 1),
    "between the tables": Point(at(tables, "write_atomic", "after"), 1),
    "before any sync": Point(at(os, "fsync", "before"), 12),
    "after any sync": Point(at(os, "fsync", "after"), 12),
}
