"""Worker processes that die, hang, are late or do not start: each is a value or one clear error; the rest goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from math import inf

import pytest

from fedstrata.engines.clock import Deadline
from fedstrata.engines.processes import ProcessEngine
from fedstrata.errors import TrainingError
from fedstrata.wire.messages import Evaluated, Failure, Frame
from waiting import HANG
from worker_engines import asked, failed, have_ready, play, told, wait_for_end, workers


@pytest.fixture(scope="module")
def engine() -> Iterator[ProcessEngine]:
    """Two workers that count as hung after two seconds."""
    with workers(2, stall=2.0) as made:
        yield made


def sent(engine: ProcessEngine, *clients: str) -> Generator[Frame | Failure]:
    """Send evaluations."""
    replies = engine.send(asked(*clients), deadline=Deadline.after(HANG, engine.clock))
    assert isinstance(replies, Generator)
    return replies


@dataclass(slots=True)
class OnceTheyOnly:
    """A clock that stands still at 0 until all workers do one thing for ever, and then is past every deadline."""

    engine: ProcessEngine
    mood: str
    _over: bool = False

    def now(self) -> float:
        """Return the seconds."""
        workers = [worker for worker in self.engine._pool._places if worker is not None]
        at_it = [w for w in workers if w.task is not None and w.task.request.client == self.mood]
        self._over = self._over or len(at_it) == self.engine._pool.size
        return inf if self._over else 0.0


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("killed", "its worker process was killed (SIGKILL), perhaps out of memory"),
        ("crash", "its worker process crashed (SIGSEGV)"),
        ("leave", "its worker process exited with code 7"),
        ("spoil", "its worker process crashed (SIGSEGV)"),
        ("orphan", "its worker process was killed (SIGKILL), perhaps out of memory"),
        ("hang", "hung: no processor time for 2 s"),
    ],
)
def test_a_client_that_takes_its_process_along_is_a_failure_and_the_others_finish(
    engine: ProcessEngine, mood: str, said: str
) -> None:
    lost, first, second = play(engine, asked(mood, "a", "b"))
    assert failed(lost) == ("CLIENT_ERROR", said)
    assert isinstance(first, Evaluated)
    assert isinstance(second, Evaluated)


def test_workers_that_are_killed_from_outside_are_replaced(engine: ProcessEngine) -> None:
    replies = sent(engine, "a", "spin")
    next(replies)
    gone = engine.pids
    for pid in gone:
        os.kill(pid, signal.SIGKILL)
    assert [type(r).__name__ for r in replies] == ["Failure"]
    assert all(isinstance(r, Evaluated) for r in play(engine, asked("a", "b", "c")))
    assert set(gone).isdisjoint(engine.pids)


def test_workers_that_are_killed_without_work_are_replaced_unseen(engine: ProcessEngine) -> None:
    have_ready(engine)
    for pid in engine.pids:
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    assert all(isinstance(r, Evaluated) for r in play(engine, asked("a", "b", "c")))


def test_work_that_is_not_done_by_the_deadline_is_late(engine: ProcessEngine) -> None:
    have_ready(engine)
    deadline = Deadline(1.0, OnceTheyOnly(engine, "spin"))
    replies = [*engine.send(asked("a", "spin", "b", "spin", "c", "d"), deadline=deadline)]
    assert [type(r).__name__ for r in replies] == ["Frame", "Failure", "Frame", *["Failure"] * 3]
    assert [failed(r) for r in replies if isinstance(r, Failure)] == [
        ("LATE", "not done within the deadline"),
        ("LATE", "not done within the deadline"),
        ("LATE", "not started within the deadline"),
        ("LATE", "not started within the deadline"),
    ]


def test_what_was_late_does_not_answer_into_the_next_send(engine: ProcessEngine) -> None:
    list(engine.send(asked("spin", "spin"), deadline=Deadline(1.0, OnceTheyOnly(engine, "spin"))))
    assert [type(r) for r in play(engine, asked("a", "b", "c"))] == [Evaluated] * 3


def test_nothing_is_started_after_the_deadline(engine: ProcessEngine) -> None:
    past = Deadline(engine.clock.now() - 1.0, engine.clock)
    replies = list(engine.send(asked("a", "b", "c", "d", "e", "f", "g"), deadline=past))
    assert [getattr(r, "message", None) for r in replies] == ["not started within the deadline"] * 7


def test_a_send_that_is_left_early_ends_what_is_at_work(engine: ProcessEngine) -> None:
    replies = sent(engine, "a", "spin", "b")
    next(replies)
    replies.close()
    assert [type(r) for r in play(engine, asked("a", "b"))] == [Evaluated] * 2


def test_a_server_that_is_interrupted_while_it_waits_ends_what_is_at_work(engine: ProcessEngine) -> None:
    def requests() -> Iterator[object]:
        yield from asked("spin")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.send(requests()))  # type: ignore[arg-type]
    assert told(play(engine, asked("steady"))[0]) == 1


def test_workers_that_die_before_they_are_ready_are_one_error_after_three_tries() -> None:
    with (
        workers(2, recipe="dying") as engine,
        pytest.raises(
            TrainingError, match=r"exited with code 3.*tried 3 times; the last one said:\nthe disk is on fire"
        ),
    ):
        list(engine.send(asked("a", "b")))


def test_a_recipe_that_refuses_says_why() -> None:
    with (
        workers(1, recipe="broken") as engine,
        pytest.raises(TrainingError, match="cannot make its handler: ConfigError: no model here"),
    ):
        list(engine.send(asked("a")))


def test_a_recipe_that_does_not_exist_says_so() -> None:
    with workers(1, recipe="none") as engine, pytest.raises(TrainingError, match="has no attribute 'none'"):
        list(engine.send(asked("a")))


def test_a_worker_that_is_never_ready_is_given_up() -> None:
    with (
        workers(1, recipe="stuck", start_timeout=0.1) as engine,
        pytest.raises(TrainingError, match=r"do not start: not ready after 0\.1 s"),
    ):
        list(engine.send(asked("a")))


def test_a_process_that_the_system_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(TrainingError, match=r"cannot start a worker process: .*nowhere"), workers(1, fresh=True):
        pass
