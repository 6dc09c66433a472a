"""Whatever the bytes, the decoder gives a sound reply or a ``Reject``: quickly, in little memory, touching no file."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from random import Random
from statistics import median
from time import process_time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answers import is_answer
from fedstrata.domain.reasons import Reason
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Reject
from fedstrata.wire.reply_frames import decode
from frames import CASES, asked, frame
from mutations import mutate

FRAMES = [frame(*case) for case in CASES]
ASKED = [asked(*case) for case in CASES]
MUTATIONS = 10_000
PLENTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
watched: list[str] | None = None
"""Where to note what the process does beyond computing; ``None`` for not now."""


def note(event: str, _: tuple[object, ...]) -> None:
    quiet = ("object.", "sys._getframe", "gc.", "builtins.id", "time.")
    if watched is not None and not event.startswith(quiet):
        watched.append(event)


sys.addaudithook(note)


def outcome(data: bytes, expected: Assignment) -> str:
    """Return ``accepted`` or the reason of the refusal, having checked that it is one or the other."""
    found = decode(data, expected)
    if isinstance(found, Reject):
        assert found.reason in tuple(Reason)
        assert found.message
        assert len(found.message) < 300
        return found.reason
    assert is_answer(found, expected)
    return "accepted"


@PLENTY
@given(data=st.binary(max_size=4096), which=st.integers(0, len(CASES) - 1))
def test_arbitrary_bytes_are_refused(data: bytes, which: int) -> None:
    assert outcome(data, ASKED[which]) in (Reason.SIZE, Reason.SCHEMA)


@PLENTY
@given(data=st.binary(max_size=2048), keep=st.integers(0, 400), which=st.integers(0, len(CASES) - 1))
def test_arbitrary_bytes_after_a_sound_beginning_are_refused(data: bytes, keep: int, which: int) -> None:
    start = FRAMES[which][:keep]
    if start + data != FRAMES[which]:
        assert outcome(start + data, ASKED[which]) in (Reason.SIZE, Reason.SCHEMA)


@PLENTY
@given(seed=st.integers(0, 2**64), which=st.integers(0, len(CASES) - 1), other=st.integers(0, len(CASES) - 1))
def test_a_mutated_frame_is_a_sound_reply_or_refused_by_whoever_gets_it(seed: int, which: int, other: int) -> None:
    outcome(mutate(FRAMES[which], Random(seed), FRAMES), ASKED[other])


@pytest.fixture(scope="module")
def campaign() -> tuple[Counter[str], list[float], int, list[str]]:
    """Run all mutations once; return outcomes, processor seconds of each, bytes of growth and what else was done."""
    global watched
    rng, outcomes, seconds = Random(20261124), Counter[str](), []
    process = psutil.Process()
    memory = 0
    gc.collect()
    gc.freeze()  # so that no collection of what other tests left is taken for a slow input
    try:
        for i in range(MUTATIONS):
            if i == MUTATIONS // 5:
                memory, watched = process.memory_info().rss, []
            which = i % len(CASES)
            data = mutate(FRAMES[which], rng, FRAMES)
            start = process_time()
            found = decode(data, ASKED[which])
            seconds.append(process_time() - start)
            assert isinstance(found, Reject) or is_answer(found, ASKED[which]), data
            outcomes[found.reason if isinstance(found, Reject) else type(found).__name__] += 1
        done = watched or []
    finally:
        watched = None
        gc.unfreeze()
    return outcomes, seconds, process.memory_info().rss - memory, done


Campaign = tuple[Counter[str], list[float], int, list[str]]


def test_mutations_reach_every_check_of_the_decoder(campaign: Campaign) -> None:
    """Were one missing, the mutations would be too shallow to say anything."""
    outcomes = campaign[0]
    assert sum(outcomes.values()) == MUTATIONS
    refusals = {Reason.SIZE, Reason.SCHEMA, Reason.STALE, Reason.AUTH, Reason.NONFINITE, Reason.NORM}
    assert set(outcomes) == refusals | {"Update", "Probed", "Evaluated", "Failure"}
    assert min(outcomes.values()) >= 10


def test_no_mutation_takes_long(campaign: Campaign) -> None:
    """Against what the others take: 100 times the median of a machine without other work is some milliseconds."""
    assert sorted(campaign[1])[-MUTATIONS // 1000] < 100 * median(campaign[1])
    assert max(campaign[1]) < 10_000 * median(campaign[1])


def test_mutations_leave_no_memory_behind(campaign: Campaign) -> None:
    assert campaign[2] < 100 * 2**20


def test_mutations_open_no_file_and_run_no_code(campaign: Campaign) -> None:
    assert campaign[3] == []
