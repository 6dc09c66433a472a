"""Signals: the first finishes the round, the next stops at once, and what whoever started us ignores stays ignored."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console

from fedstrata.cli.signals import StopFlag, ended_by, ending_well, finishing_the_round

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "finishing this round and saving; press Ctrl-C again to stop at once\n"),
        (signal.SIGTERM, 143, "SIGTERM: finishing this round and saving; another signal stops at once\n"),
        (signal.SIGHUP, 129, "SIGHUP: finishing this round and saving; another signal stops at once\n"),
    ],
)
@pytest.mark.parametrize("second", NUMBERS)
def test_the_first_signal_is_a_wish_and_the_second_an_end(
    number: signal.Signals, code: int, line: str, second: signal.Signals
) -> None:
    stop, said = StopFlag(), StringIO()
    before = [signal.getsignal(n) for n in NUMBERS]
    with finishing_the_round(stop, Console(file=said)):
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.code == code
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), second)
        assert stop.code == 128 + second
    assert said.getvalue() == line
    assert [signal.getsignal(n) for n in NUMBERS] == before


def test_a_hangup_that_nohup_has_us_ignore_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopFlag()
    with ending_well(), finishing_the_round(stop, Console(file=StringIO())):
        os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.wanted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_before_a_run_begins_a_signal_ends_the_process_and_what_it_began_is_cleaned_up(number: signal.Signals) -> None:
    cleaned = []

    def begun() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(True)

    with ending_well(), pytest.raises(SystemExit) as caught:
        begun()
    assert cleaned == [True]
    assert caught.value.code == 128 + number
    assert ended_by(caught.value) == number.name
