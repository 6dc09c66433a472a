"""The engine that loses, delays, doubles, damages and lies: each fault does what it says, counted, by seed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import pytest

from asking import PHASES, TEN, answer, ask, engine, expected_of, names, one, verdict
from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline
from fedstrata.testing.faults import EVERY_PHASE, Fault, Faults, Kind, Plan, Share
from fedstrata.testing.faulty import FaultyEngine, Message
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import (
    Failure,
    Frame,
    PhaseName,
    Reply,
    Request,
    Update,
)
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.sizes import Encoding
from frames import LAYERS, ORIGIN
from toys import same_bits

A, B, C = TEN[:3]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("frames", [False, True])
def test_without_faults_every_answer_is_sound_and_takes_the_latency(phase: PhaseName, frames: bool) -> None:
    faulty, requests = engine(frames=frames), ask(phase, C, A, B)
    got = list(faulty.send(requests))
    assert names(got) == ["a", "b", "c"]
    assert [verdict(m, expected_of(r)) for m, r in zip(got, [requests[1], requests[2], requests[0]], strict=True)] == [
        "sound"
    ] * 3
    assert (faulty.clock.now(), faulty.counts) == (1.0, {})


@pytest.mark.parametrize("encoding", [Encoding.FLOAT32, Encoding.BF16, Encoding.FP16])
def test_a_frame_says_what_the_value_would(encoding: Encoding) -> None:
    """Not so for ``int8``: a step that is found again may differ in its last bit."""
    (request,) = ask("train", A, encoding=encoding)
    (plain,) = engine().send([request])
    (framed,) = engine(frames=True).send([request])
    assert isinstance(framed, Frame)
    got = decode(framed.data, expected_of(request))
    assert isinstance(plain, Update)
    assert isinstance(got, Update)
    assert same_bits(got.deltas, plain.deltas)
    assert content_of(got) == content_of(plain)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", [Kind.LOSE_REQUEST, Kind.LOSE_REPLY])
def test_what_is_lost_never_comes(phase: PhaseName, kind: Kind) -> None:
    faulty = engine(one(kind, phase=phase))
    assert names(list(faulty.send(ask(phase, A, B, C)))) == ["a", "c"]
    assert names(list(faulty.send(ask("evaluate", A)))) == ["a"]
    assert faulty.counts == {kind: 1}


@pytest.mark.parametrize(("kind", "worked"), [(Kind.LOSE_REQUEST, 0), (Kind.CRASH, 0), (Kind.LOSE_REPLY, 1)])
def test_a_client_works_only_if_it_is_asked(kind: Kind, worked: int) -> None:
    seen: list[Request] = []

    def script(request: Request) -> Reply:
        seen.append(request)
        return answer(request)

    list(FaultyEngine(ScriptedEngine(script), one(kind), LAYERS).send(ask("train", B)))
    assert len(seen) == worked


def test_a_crash_is_a_failure_of_that_client() -> None:
    faulty = engine(one(Kind.CRASH))
    _, failed, _ = faulty.send(ask("train", A, B, C))
    assert failed == Failure(B, 2, "train", Reason.CLIENT_ERROR, "a fault made the client crash", ORIGIN)
    assert faulty.counts == {"crash": 1}


def test_a_delayed_answer_comes_later_and_the_clock_with_it() -> None:
    faulty = engine(one(Kind.DELAY, amount=2.5))
    moments = [(message.client, faulty.clock.now()) for message in faulty.send(ask("train", A, B, C))]
    assert moments == [("a", 1.0), ("c", 1.0), ("b", 3.5)]
    assert faulty.counts == {"delay": 1}


@pytest.mark.parametrize(("delay", "in_time"), [(8.9, True), (9.0, True), (9.1, False), (900.0, False)])
def test_what_comes_after_the_deadline_is_not_waited_for(delay: float, in_time: bool) -> None:
    faulty = engine(one(Kind.DELAY, amount=delay))
    got = list(faulty.send(ask("train", A, B), deadline=Deadline.after(10.0, faulty.clock)))
    assert names(got) == (["a", "b"] if in_time else ["a"])
    assert faulty.clock.now() == (1.0 + delay if in_time else 10.0)


def test_a_late_answer_turns_up_first_in_the_next_phase_and_is_stale_there() -> None:
    faulty = engine(one(Kind.DELAY, amount=50.0), frames=True)
    list(faulty.send(ask("train", A, B), deadline=Deadline.after(10.0, faulty.clock)))
    requests = ask("evaluate", A, B)
    late, *sound = faulty.send(requests, deadline=Deadline.after(10.0, faulty.clock))
    assert late.client == "b"
    assert verdict(late, expected_of(requests[1])) == "STALE"
    assert [verdict(m, expected_of(r)) for m, r in zip(sound, requests, strict=True)] == ["sound", "sound"]
    assert faulty.counts == {"delay": 1, "late": 1}


def test_what_nobody_took_before_the_stream_was_closed_comes_next() -> None:
    faulty = engine()
    stream = faulty.send(ask("train", A, B))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert names(list(faulty.send(ask("train", C)))) == ["b", "c"]


def test_a_phase_that_lacks_an_answer_lasts_until_its_deadline() -> None:
    faulty = engine(one(Kind.LOSE_REPLY))
    list(faulty.send(ask("train", A, B), deadline=Deadline.after(10.0, faulty.clock)))
    assert faulty.clock.now() == 10.0
    list(faulty.send(ask("evaluate", A, B), deadline=Deadline.after(10.0, faulty.clock)))
    assert faulty.clock.now() == 11.0


def test_without_a_deadline_a_phase_ends_when_nothing_more_will_come() -> None:
    faulty = engine(Share(1.0, Fault(Kind.LOSE_REPLY)))
    assert list(faulty.send(ask("train", *TEN))) == []
    assert faulty.clock.now() == 0.0


def test_a_duplicate_is_the_same_answer_again() -> None:
    faulty = engine(one(Kind.DUPLICATE, amount=4), frames=True)
    got = [message for message in faulty.send(ask("train", A, B)) if message.client == B]
    assert len(got) == 5
    assert len(set(got)) == 1
    assert faulty.counts == {"duplicate": 4}


def test_reordered_answers_come_within_twice_the_latency_in_many_orders() -> None:
    orders = set()
    for seed in range(20):
        faulty = engine(Faults(reorder=1.0), seed=seed)
        orders.add(tuple(names(list(faulty.send(ask("train", A, B, C))))))
        assert faulty.clock.now() < 2.0
        assert faulty.counts == {"reorder": 3}
    assert len(orders) == 6


@pytest.mark.parametrize("phase", PHASES)
def test_a_share_is_exact_in_every_phase_that_it_hits_and_drawn_anew(phase: PhaseName) -> None:
    faulty = engine(Share(0.3, Fault(Kind.LOSE_REPLY), phases=frozenset({phase})))
    lost = []
    for round in range(5):
        for other in PHASES:
            got = set(names(list(faulty.send(ask(other, *TEN, round=round)))))
            assert len(got) == (7 if other == phase else 10)
            lost += [frozenset(TEN) - got] if other == phase else []
    assert len(set(lost)) > 1
    assert faulty.counts == {"lose_reply": 15}


def run(plan: Plan, seed: int, order: Sequence[ClientId] = TEN) -> list[list[Message]]:
    """Return what arrives in three rounds of three phases under a deadline."""
    faulty = engine(plan, seed=seed, frames=True)
    return [
        list(faulty.send(ask(phase, *order, round=round), deadline=Deadline.after(3.0, faulty.clock)))
        for round in range(3)
        for phase in PHASES
    ]


EVERYTHING = Faults(**{kind: 0.2 for kind in Kind if kind is not Kind.DELAY}, delay=0.5)  # type: ignore[arg-type]


def test_the_same_seed_does_the_same_to_the_byte() -> None:
    assert run(EVERYTHING, 4) == run(EVERYTHING, 4)


def test_another_seed_does_something_else() -> None:
    assert run(EVERYTHING, 4) != run(EVERYTHING, 5)


def test_the_order_of_the_requests_does_not_matter() -> None:
    assert run(EVERYTHING, 4, TEN[::-1]) == run(EVERYTHING, 4)


def test_every_kind_of_fault_happens_and_nothing_is_raised() -> None:
    faulty = engine(EVERYTHING, frames=True)
    for round in range(10):
        for phase in PHASES:
            requests = {r.client: r for r in ask(phase, *TEN, round=round)}
            for message in faulty.send(requests.values(), deadline=Deadline.after(2.0, faulty.clock)):
                assert verdict(message, expected_of(requests[message.client]))
    assert faulty.counts.keys() == {*map(str, Kind), "late"}


def test_from_some_round_on_nothing_goes_wrong() -> None:
    faulty = engine(Faults(lose_reply=1.0), until=2)
    assert [len(list(faulty.send(ask("train", A, B, round=round)))) for round in range(4)] == [0, 0, 2, 2]


def test_phases_that_are_spared_are_spared() -> None:
    faulty = engine(Faults(lose_reply=1.0, phases=EVERY_PHASE - {"train"}))
    assert [len(list(faulty.send(ask(phase, A, B)))) for phase in PHASES] == [0, 2, 0]


def test_no_request_no_answer() -> None:
    faulty = engine(EVERYTHING)
    assert list(faulty.send([])) == []
    assert isfinite(faulty.clock.now())


def test_an_engine_that_loses_answers_does_not_repeat_them() -> None:
    assert not engine().repeatable


def test_closing_closes_what_is_inside_and_forgets_what_is_late() -> None:
    faulty = engine(one(Kind.DELAY, amount=50.0))
    list(faulty.send(ask("train", B), deadline=Deadline.after(10.0, faulty.clock)))
    faulty.close()
    assert names(list(faulty.send(ask("evaluate", A)))) == ["a"]
