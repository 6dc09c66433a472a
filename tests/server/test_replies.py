"""The replies: whatever comes in, each client gets one outcome."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from answering import ORIGIN, flipped, frame, training, update
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.runs.journal import MemoryJournal
from fedstrata.server.replies import Replies
from fedstrata.wire.messages import Failure, Frame, Probed, Reject, Reply, Update
from toys import named

W = TensorName("h.0.w")


class Desk:
    """An replies for a, b and c, and what it said."""

    def __init__(self, *clients: str, seconds: float | None = None) -> None:
        self.clock = VirtualClock()
        self.dropped: list[tuple[str, str]] = []
        self.lost: dict[str, str] = {}
        self.replies = Replies(
            [training(c) for c in clients or ("a", "b", "c")],
            journal=MemoryJournal(),
            deadline=Deadline.after(seconds, self.clock),
            population=frozenset(named("a", "b", "c", "away")),
            lost=self._note,
        )

    def _note(self, client: ClientId, reject: Reject, lost: bool) -> None:
        if lost:
            self.lost[client] = reject.reason
        else:
            self.dropped.append((client, reject.reason))

    def take(self, *messages: Reply | Frame) -> list[str]:
        """Hand in messages and return whose answers are ready."""
        for message in messages:
            self.replies.receive(message)
        return self.ready()

    def ready(self) -> list[str]:
        return [a.reply.client for a in self.replies.ready()]

    def end(self) -> list[str]:
        self.replies.close()
        return self.ready()


def test_answers_are_handed_on_in_order_however_they_come() -> None:
    for order in permutations("abc"):
        desk = Desk()
        assert [c for client in order for c in desk.take(update(client))] == ["a", "b", "c"]


def test_an_answer_waits_for_the_clients_before_it() -> None:
    desk = Desk()
    assert desk.take(update("c"), update("b")) == []
    assert desk.take(update("a")) == ["a", "b", "c"]


def test_a_client_that_never_answers_is_late_and_the_others_count() -> None:
    desk = Desk()
    assert desk.take(update("b"), update("c")) == []
    assert desk.end() == ["b", "c"]
    assert desk.lost == {"a": "LATE"}


@pytest.mark.parametrize("times", range(1, 6))
def test_an_answer_that_comes_again_counts_once(times: int) -> None:
    desk = Desk("a")
    assert desk.take(*[update("a")] * times) == ["a"]
    assert desk.dropped == [("a", "DUPLICATE")] * (times - 1)


def test_the_same_answer_measured_twice_is_a_duplicate_though_its_seconds_differ() -> None:
    desk = Desk("a")
    desk.take(update("a"), replace(update("a"), seconds=9.0))
    assert desk.dropped == [("a", "DUPLICATE")]


def test_of_two_different_answers_the_first_counts_and_the_second_is_flagged() -> None:
    desk = Desk("a")
    desk.replies.receive(update("a", 1.0))
    desk.replies.receive(update("a", 2.0))
    (accepted,) = desk.replies.ready()
    assert isinstance(accepted.reply, Update)
    assert float(accepted.reply.deltas[W][0, 0]) == 1.0
    assert desk.dropped == [("a", "CONFLICT")]


def test_after_a_good_answer_a_failure_changes_nothing() -> None:
    desk = Desk("a")
    failure = Failure(ClientId("a"), 4, "train", Reason.CLIENT_ERROR, "oops", ORIGIN)
    assert desk.take(update("a"), failure) == ["a"]
    assert (desk.dropped, desk.lost) == ([("a", "CONFLICT")], {})


def test_after_a_failure_a_good_answer_does_not_count() -> None:
    desk = Desk("a")
    failure = Failure(ClientId("a"), 4, "train", Reason.CLIENT_ERROR, "oops", ORIGIN)
    assert desk.take(failure, update("a")) == []
    assert (desk.dropped, desk.lost) == ([("a", "CONFLICT")], {"a": "CLIENT_ERROR"})


@pytest.mark.parametrize(
    "stale",
    [
        update("a", round=3),
        update("a", origin=replace(ORIGIN, run="other")),
        update("a", origin=replace(ORIGIN, attempt=1)),
        update("a", origin=replace(ORIGIN, base="other")),
        Probed(ClientId("a"), 4, (), 0.0, 0.0, None, ORIGIN),
    ],
    ids=["round", "run", "attempt", "base", "phase"],
)
@pytest.mark.parametrize("as_frame", [False, True])
def test_a_stale_message_is_dropped_and_the_right_one_counts(stale: Update | Probed, as_frame: bool) -> None:
    desk = Desk("a")
    message = frame(stale) if as_frame and isinstance(stale, Update) else stale
    assert desk.take(message, update("a")) == ["a"]
    assert desk.dropped == [("a", "STALE")]


def test_a_client_that_is_not_asked_is_stale_and_one_that_nobody_knows_is_not_let_in() -> None:
    desk = Desk("a")
    desk.take(replace(update("a"), client=ClientId("away")), replace(update("a"), client=ClientId("mallory")))
    assert desk.dropped == [("away", "STALE"), ("mallory", "AUTH")]


def test_a_frame_in_another_clients_name_is_not_let_in_and_harms_neither() -> None:
    desk = Desk("a", "b")
    assert desk.take(frame(update("a"), channel="b")) == []
    assert desk.dropped == [("b", "AUTH")]
    assert desk.take(update("a"), update("b")) == ["a", "b"]


def test_a_damaged_frame_is_as_good_as_lost_until_a_sound_copy_comes() -> None:
    whole = frame(update("a"))
    desk = Desk("a")
    assert desk.take(flipped(whole, 8 * len(whole.data) - 1), Frame(whole.client, whole.data[:-1])) == []
    assert desk.take(whole) == ["a"]
    assert desk.dropped == [("a", "SCHEMA"), ("a", "SIZE")]


def test_a_client_of_whom_only_damaged_frames_came_is_lost_by_the_damage() -> None:
    desk = Desk("a")
    desk.take(Frame(ClientId("a"), b"FST"))
    desk.end()
    assert desk.lost == {"a": "SIZE"}


@pytest.mark.parametrize(
    ("deltas", "reason"),
    [
        ({W: torch.full((2, 2), float("nan"))}, "NONFINITE"),
        ({W: torch.full((2, 2), 1e38)}, "NORM"),
        ({W: torch.zeros(4)}, "SCHEMA"),
        ({}, "SCHEMA"),
    ],
)
def test_a_sound_message_with_the_wrong_content_loses_its_client(
    deltas: dict[TensorName, torch.Tensor], reason: str
) -> None:
    desk = Desk("a", "b")
    assert desk.take(replace(update("a"), deltas=deltas), update("b")) == ["b"]
    assert desk.lost == {"a": reason}


def test_what_comes_after_the_deadline_is_late() -> None:
    desk = Desk("a", "b", seconds=10.0)
    assert desk.take(update("a")) == ["a"]
    desk.clock.advance_to(10.5)
    assert desk.take(update("b")) == []
    assert desk.end() == []
    desk.take(update("a"), update("b"))
    assert (desk.dropped, desk.lost) == ([("a", "LATE"), ("b", "LATE")], {"b": "LATE"})


def test_the_last_moment_is_in_time() -> None:
    desk = Desk("a", seconds=10.0)
    desk.clock.advance_to(10.0)
    assert desk.take(update("a")) == ["a"]


def test_the_rows_are_those_that_the_client_declared() -> None:
    desk = Desk("a")
    desk.take(replace(update("a"), num_examples=10**6))
    assert desk.lost == {"a": "SCHEMA"}
