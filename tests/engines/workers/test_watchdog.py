"""The watchdog: a worker that stands still hangs, and one that a busy machine keeps waiting does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from fedstrata.engines.workers.watchdog import Glimpse, Watchdog, glimpse
from waiting import until


def looked(*seen: Glimpse) -> list[bool]:
    """Return what a watchdog says that looks every second and bears two without work."""
    dog = Watchdog(limit=2.0, period=1.0)
    return [dog.look(float(second), one) for second, one in enumerate(seen)]


def test_a_process_that_stands_still_hangs() -> None:
    assert looked(*[Glimpse(5.0)] * 4) == [False, False, True, True]


def test_a_process_that_waits_for_its_turn_does_not_hang_however_long_it_takes() -> None:
    assert not any(looked(*[Glimpse(5.0, ready=True)] * 50))


def test_a_process_that_had_its_turn_and_stands_still_hangs() -> None:
    assert looked(Glimpse(5.0, ready=True), Glimpse(5.0), Glimpse(5.0)) == [False, False, True]


@pytest.fixture(params=["while True: pass", "import sys; sys.stdin.read()"], ids=["spins", "waits"])
def process(request: pytest.FixtureRequest) -> Iterator[tuple[bool, subprocess.Popen[bytes]]]:
    with subprocess.Popen([sys.executable, "-S", "-c", request.param], stdin=subprocess.PIPE) as started:
        yield "while" in request.param, started
        started.kill()


def test_a_real_process_is_ready_while_it_computes_and_not_while_it_waits(
    process: tuple[bool, subprocess.Popen[bytes]],
) -> None:
    computes, started = process

    def as_expected() -> bool:
        seen = glimpse(started.pid)
        return seen is not None and seen.ready is computes and seen.used >= 0

    until(as_expected, why="a process that has begun its work")


def test_a_process_that_is_gone_is_not_seen() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "pass"]) as started:
        started.wait()
    assert glimpse(started.pid) is None
