"""The time of a piece of work: it is stopped wherever it is, and never after it has ended."""

from __future__ import annotations

import signal

import pytest

from fedstrata.deploy.site.timer import within
from fedstrata.errors import ClientError


def test_work_that_lasts_too_long_is_stopped_and_the_handler_is_the_old_one() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ClientError, match=r"longer than the 60 s .*limits.seconds"), within(60.0):
        signal.raise_signal(signal.SIGALRM)  # as the timer does
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("failure", [None, ValueError("its own")])
def test_a_signal_that_comes_as_the_work_ends_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, failure: ValueError | None
) -> None:
    real = signal.setitimer

    def late(which: int, seconds: float) -> object:
        if seconds == 0.0:
            signal.raise_signal(signal.SIGALRM)
        return real(which, seconds)

    monkeypatch.setattr("fedstrata.deploy.site.timer.signal.setitimer", late)
    found = None
    try:
        with within(60.0):
            if failure:
                raise failure
    except ValueError as error:
        found = error
    assert found is failure
