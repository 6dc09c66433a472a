"""Messages made wrong on purpose are wrong in one way, refused for it, and lies are well-formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from asking import NOTHING, PHASES, TEN, answer, ask, engine, expected_of, one, verdict
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.stats import Statistic
from fedstrata.testing.faults import Kind
from fedstrata.testing.faulty import FaultyEngine
from fedstrata.wire.assignment import asked_of
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import (
    Evaluated,
    Frame,
    PhaseName,
    Probed,
    ProbePlan,
    Update,
)
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.sizes import Encoding
from frames import LAYERS, probed

A, B, C = TEN[:3]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("frames", [False, True])
def test_a_conflict_is_another_answer_as_sound_as_the_first_and_after_it(phase: PhaseName, frames: bool) -> None:
    faulty, requests = engine(one(Kind.CONFLICT, phase=phase), frames=frames), ask(phase, A, B)
    first, second = (m for m in faulty.send(requests) if m.client == B)
    contents = []
    for message in (first, second):
        assert verdict(message, expected_of(requests[1])) == "sound"
        reply = decode(message.data, expected_of(requests[1])) if isinstance(message, Frame) else message
        assert isinstance(reply, Probed | Update | Evaluated)
        contents.append(content_of(reply))
    assert isinstance(first, Frame) or content_of(first) == content_of(answer(requests[1]))  # type: ignore[arg-type]
    assert contents[0] != contents[1]
    assert faulty.counts == {"conflict": 1}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("seed", range(8))
def test_a_stale_message_comes_first_and_the_answer_after_it(phase: PhaseName, seed: int) -> None:
    faulty, requests = engine(one(Kind.STALE, phase=phase), seed=seed), ask(phase, A, B)
    stale, sound = (m for m in faulty.send(requests) if m.client == B)
    assert verdict(stale, expected_of(requests[1])) == "STALE"
    assert verdict(sound, expected_of(requests[1])) == "sound"


def test_stale_messages_are_of_other_rounds_runs_attempts_and_weights() -> None:
    found = set()
    for seed in range(40):
        (request,) = ask("train", B)
        stale, _ = engine(one(Kind.STALE), seed=seed).send([request])
        assert isinstance(stale, Update)
        got = (stale.round, stale.origin)
        o = request.origin
        found |= {name for name, same in (
            ("round", got == (1, o)), ("run", got == (2, replace(o, run="run-1x"))),
            ("attempt", got == (2, replace(o, attempt=3))), ("base", got == (2, replace(o, base="0"))),
        ) if same}  # fmt: skip
    assert found == {"round", "run", "attempt", "base"}


REFUSED: Mapping[tuple[Kind, PhaseName], set[str]] = {
    (Kind.NONFINITE, "probe"): {"NONFINITE"},
    (Kind.NONFINITE, "train"): {"NONFINITE"},
    (Kind.NONFINITE, "evaluate"): {"NONFINITE"},
    (Kind.HUGE, "train"): {"NORM"},
    (Kind.WRONG_SHAPE, "probe"): {"SCHEMA"},
    (Kind.WRONG_SHAPE, "train"): {"SCHEMA", "SIZE"},
    (Kind.WRONG_SHAPE, "evaluate"): {"SCHEMA"},
    (Kind.WRONG_NAME, "train"): {"SCHEMA", "SIZE"},
    (Kind.ROWS_LIE, "train"): {"SCHEMA"},
    **{(Kind.MISNAME, phase): {"AUTH"} for phase in PHASES},
    **{(Kind.FLIP, phase): {"SCHEMA", "SIZE"} for phase in PHASES},
    **{(Kind.TRUNCATE, phase): {"SIZE"} for phase in PHASES},
}


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(("kind", "phase"), REFUSED)
def test_damage_is_refused_for_its_reason_and_no_other_client_suffers(
    kind: Kind, phase: PhaseName, frames: bool, encoding: Encoding
) -> None:
    requests = ask(phase, A, B, C, encoding=encoding)
    for seed in range(3):
        faulty = engine(one(kind, amount=1000.0, phase=phase), seed=seed, frames=frames)
        got = [verdict(m, expected_of(r)) for m, r in zip(faulty.send(requests), requests, strict=True)]
        assert got[0] == got[2] == "sound"
        assert got[1] in REFUSED[kind, phase]
        assert faulty.counts == {kind: 1}


@pytest.mark.parametrize("kind", [Kind.MISNAME, Kind.TRUNCATE, Kind.FLIP])
def test_what_only_bytes_can_show_travels_as_a_frame(kind: Kind) -> None:
    sound, damaged = engine(one(kind)).send(ask("train", A, B))
    assert isinstance(sound, Update)
    assert isinstance(damaged, Frame)


def test_a_lie_about_scores_is_well_formed() -> None:
    faulty, (request,) = engine(one(Kind.SCORE_LIE, amount=100.0, phase="probe")), ask("probe", B)
    (lie,) = faulty.send([request])
    assert verdict(lie, expected_of(request)) == "sound"
    assert isinstance(lie, Probed)
    assert [s.grad_sq for s in lie.stats] == [100 * s.grad_sq for s in probed().stats]
    assert [s.weight_sq for s in lie.stats] == [s.weight_sq for s in probed().stats]


@pytest.mark.parametrize("frames", [False, True])
def test_scores_that_piggyback_on_an_update_are_lied_about_too(frames: bool) -> None:
    request = replace(ask("train", B)[0], probe=ProbePlan(statistics=frozenset(Statistic), sketch=Hashing(0, 16)))  # type: ignore[arg-type]
    (lie,) = engine(one(Kind.SCORE_LIE, amount=100.0), frames=frames).send([request])
    assert verdict(lie, expected_of(request)) == "sound"
    reply = decode(lie.data, expected_of(request)) if isinstance(lie, Frame) else lie
    assert isinstance(reply, Update)
    assert reply.piggybacked is not None
    assert [s.grad_sq for s in reply.piggybacked.stats] == [100 * s.grad_sq for s in probed().stats]


@pytest.mark.parametrize(("phase", "rows"), [("train", 7000), ("evaluate", 8000)])
def test_a_lie_about_rows_is_well_formed_where_nobody_declared_them(phase: PhaseName, rows: int) -> None:
    (request,) = ask(phase, B)
    (lie,) = engine(one(Kind.ROWS_LIE, amount=1000.0, phase=phase)).send([request])
    assert verdict(lie, asked_of(request, LAYERS)) == "sound"
    assert isinstance(lie, Update | Evaluated)
    assert lie.num_examples == rows


@pytest.mark.parametrize(("kind", "phase"), [(Kind.WRONG_NAME, "evaluate"), (Kind.SCORE_LIE, "train")])
def test_a_fault_that_a_message_cannot_have_is_not_counted(kind: Kind, phase: PhaseName) -> None:
    faulty, (request,) = engine(one(kind, phase=phase)), ask(phase, B)
    (got,) = faulty.send([request])
    assert verdict(got, expected_of(request)) == "sound"
    assert faulty.counts == {}


def test_answers_that_came_as_frames_are_damaged_all_the_same() -> None:
    inner = engine(frames=True)
    faulty, (request,) = FaultyEngine(inner, one(Kind.NONFINITE), LAYERS), ask("train", B)
    (got,) = faulty.send([request])
    assert verdict(got, expected_of(request)) == "NONFINITE"


def test_frames_that_nothing_happens_to_pass_as_they_are() -> None:
    requests = ask("train", A, B, encoding=Encoding.INT8)
    inner = list(engine(frames=True).send(requests))
    assert list(FaultyEngine(engine(frames=True), NOTHING, LAYERS).send(requests)) == inner
