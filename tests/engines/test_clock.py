"""Deadlines: told on one clock, which never goes back."""

from __future__ import annotations

import time
from math import inf

import pytest

from fedstrata.engines.clock import MONOTONIC, Deadline, MonotonicClock, VirtualClock


def test_the_very_moment_of_the_deadline_is_in_time() -> None:
    clock = VirtualClock()
    deadline = Deadline.after(10.0, clock)
    clock.advance_to(10.0)
    assert (deadline.left(), deadline.passed()) == (0.0, False)
    clock.advance_to(10.0 + 1e-9)
    assert (deadline.left(), deadline.passed()) == (0.0, True)


def test_never_stays_never() -> None:
    clock = VirtualClock()
    deadline = Deadline.after(None, clock)
    clock.advance_to(1e300)
    assert (deadline.left(), deadline.passed()) == (inf, False)


def test_a_deadline_counts_from_the_moment_that_it_is_set() -> None:
    clock = VirtualClock()
    clock.advance_to(100.0)
    assert Deadline.after(5.0, clock).at == 105.0


def test_no_time_at_all_passes_as_soon_as_time_does() -> None:
    clock = VirtualClock()
    deadline = Deadline.after(0.0, clock)
    assert not deadline.passed()
    clock.advance_to(0.1)
    assert deadline.passed()


@pytest.mark.parametrize("moment", [-1.0, 0.0, float("nan"), float("-inf")])
def test_a_virtual_clock_never_goes_back(moment: float) -> None:
    clock = VirtualClock()
    clock.advance_to(3.0)
    clock.advance_to(moment)
    assert clock.now() == 3.0


def test_setting_the_date_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.after(60.0, MonotonicClock())
    for hours in (-1, 1):
        monkeypatch.setattr(time, "time", lambda hours=hours: 1e9 + hours * 3600)
        assert 0 < deadline.left() <= 60.0


def test_the_machines_clock_is_the_default() -> None:
    assert Deadline().clock is MONOTONIC
    assert not Deadline().passed()
