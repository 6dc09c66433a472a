"""What a user sees while a run is on."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from fedstrata.cli import progress as module
from fedstrata.cli.progress import LiveProgress
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import ClientRecord, Metrics, RoundRecord
from fedstrata.report import progress as lines_module
from fedstrata.report.progress import PlainProgress
from fedstrata.server.observers import Observer


def record(round: int, *, failed: int = 0, accuracy: float | None = 0.5) -> RoundRecord:
    clients = tuple(
        ClientRecord(round, ClientId(f"c{i}"), 10, failure="CLIENT_ERROR" if i < failed else None) for i in range(4)
    )
    test = Metrics(accuracy, 1.25, 100) if accuracy is not None else None
    return RoundRecord(round, clients, (), test=test, bytes_up=1_500_000, seconds=2.0, peak_bytes=300 * 2**20)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    for each in (module, lines_module):
        monkeypatch.setattr(each, "monotonic", lambda: now[0])
    return now


def play(observer: Observer, clock: list[float], *records: RoundRecord, first: int = 1, rounds: int = 5) -> None:
    if first == 1:
        observer.evaluating(0)
    observer.run_started(method="top", first_round=first, rounds=rounds, baseline=Metrics(0.125, 2.0, 100))
    for each in records:
        observer.round_started(each.round, 4)
        observer.client_done("train", ClientId("c[3]"), done=4, total=4)
        clock[0] += 30
        observer.round_done(each)


def test_plain_lines(clock: list[float]) -> None:
    lines: list[str] = []
    play(PlainProgress(lines.append), clock, record(1), record(2, failed=1))
    assert lines == [
        "evaluating the starting point",
        "top: rounds 1 to 5, accuracy 0.125 before training",
        "round 1/5  accuracy 0.500 loss 1.250  clients 4/4  up 1.50 MB  peak 300 MiB  2.0 s  ETA 0:02:00",
        "round 2/5  accuracy 0.500 loss 1.250  clients 3/4  up 3.00 MB  peak 300 MiB  2.0 s  ETA 0:01:30",
    ]


def test_a_round_that_is_not_evaluated_says_so(clock: list[float]) -> None:
    lines: list[str] = []
    play(PlainProgress(lines.append), clock, record(1, accuracy=None))
    assert "not evaluated" in lines[2]


def test_a_resumed_run_judges_the_time_left_and_the_bytes_by_this_session(clock: list[float]) -> None:
    lines: list[str] = []
    play(PlainProgress(lines.append), clock, record(4), first=4)
    assert lines[1].startswith("round 4/5 ")
    assert "up since round 4 1.50 MB" in lines[1]
    assert lines[1].endswith("ETA 0:00:30")


def screen(clock: list[float], *records: RoundRecord, first: int = 1) -> str:
    out = io.StringIO()
    observer = LiveProgress(Console(file=out, force_terminal=True, width=140, color_system=None))
    play(observer, clock, *records, first=first)
    observer.run_done("finished")
    return out.getvalue()


def facts(clock: list[float], *records: RoundRecord) -> str:
    """Return the last picture's line of facts."""
    return [line for line in screen(clock, *records).splitlines() if "method" in line][-1]


def test_the_live_panel_shows_round_client_eta_accuracy_bytes_and_memory(clock: list[float]) -> None:
    shown = facts(clock, record(1), replace(record(2, failed=1), bytes_up=2_000_000))
    for fact in ("method top", "client c[3]", "ETA 0:01:30", "accuracy 0.500", "loss 1.250", "up 3.50 MB"):
        assert fact in shown
    assert "peak memory 300 MiB" in shown
    assert "failed 1 of 4" in shown


def test_the_live_panel_counts_rounds(clock: list[float]) -> None:
    assert "2/5" in screen(clock, record(1), record(2))


def test_the_live_panel_of_a_resumed_run_goes_on_counting(clock: list[float]) -> None:
    shown = screen(clock, record(4), first=4)
    assert "4/5" in shown
    assert "up since round 4 1.50 MB" in shown


def test_a_round_without_evaluation_keeps_the_last_accuracy(clock: list[float]) -> None:
    assert "accuracy 0.500" in facts(clock, record(1), record(2, accuracy=None))


def test_before_the_first_round_the_accuracy_is_the_one_before_training(clock: list[float]) -> None:
    assert "accuracy 0.125" in screen(clock)


def test_a_panel_that_never_opened_can_be_closed() -> None:
    LiveProgress(Console(file=io.StringIO(), force_terminal=True)).run_done("failed")
