"""Admission of replies that came as values: the same rules as for frames, and norms that are right."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
import torch

from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.wire.admission import admit, admit_update, belongs
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Evaluated, Origin, Probed, Reject, Reply, Update
from frames import KINDS, ORIGIN, A, asked, deltas, probed, reply, update

HEAD, SCALAR = TensorName("head.w"), TensorName("h.2.s")


def why(found: object) -> tuple[str, str]:
    assert isinstance(found, Reject)
    return found.reason, found.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_reply_belongs_and_is_admitted(kind: str) -> None:
    assert belongs(reply(kind), asked(kind)) is None
    assert admit(reply(kind), asked(kind)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"client": ClientId("b")}, "AUTH", "it names client a, and b sent it"),
        ({"origin": replace(ORIGIN, run="run-2")}, "STALE", "another run"),
        ({"round": 6}, "STALE", "attempt 2; asked for was"),
        ({"origin": replace(ORIGIN, attempt=3)}, "STALE", ", attempt 3"),
        ({"origin": replace(ORIGIN, base="c" * 64)}, "STALE", "other weights"),
    ],
)
def test_a_reply_to_another_assignment_says_what_differs(
    kind: str, changed: dict[str, object], reason: str, words: str
) -> None:
    found = belongs(reply(kind), replace(asked(kind), **changed))  # type: ignore[arg-type]
    code, message = why(found)
    assert code == reason
    assert words in message.replace("'", "")


def test_an_answer_to_another_phase_is_stale() -> None:
    code, message = why(belongs(update(), replace(asked("evaluated"))))
    assert (code, message) == (
        "STALE",
        "it answers train of round 6, attempt 2; asked for was evaluate of round 5, attempt 2",
    )


def test_an_impostor_is_told_before_anything_else() -> None:
    other = replace(asked(), client=ClientId("b"), origin=Origin("run-9"), round=9)
    assert why(belongs(update(), other))[0] == "AUTH"


def test_norms_are_euclidean_and_one_per_tensor() -> None:
    """Head of 3, 4, 0, 0: its norm is 5; the others are zero."""
    sent = {n: torch.zeros_like(d) for n, d in deltas().items()} | {HEAD: torch.tensor([[3.0, 4.0], [0.0, 0.0]])}
    norms = admit_update(replace(update(), deltas=sent), asked())
    assert norms == {n: 5.0 if n == HEAD else 0.0 for n in sent}


def test_norms_do_not_overflow() -> None:
    """Four values of 3e38 have a norm of 6e38, which no float32 holds."""
    sent = deltas() | {HEAD: torch.full((2, 2), 3e38)}
    norms = admit_update(replace(update(), deltas=sent), replace(asked(), max_norm=inf))
    assert not isinstance(norms, Reject)
    assert norms[HEAD] == pytest.approx(6e38)


def test_norms_of_the_smallest_numbers_do_not_vanish() -> None:
    sent = deltas() | {HEAD: torch.full((2, 2), 2.0**-149)}
    norms = admit_update(replace(update(), deltas=sent), asked())
    assert not isinstance(norms, Reject)
    assert norms[HEAD] == 2.0**-148


def test_an_update_of_exactly_the_largest_norm_is_admitted() -> None:
    sent = {n: torch.zeros_like(d) for n, d in deltas().items()} | {SCALAR: torch.tensor(2.0)}
    assert admit(replace(update(), deltas=sent), replace(asked(), max_norm=2.0)) is None
    code, message = why(admit(replace(update(), deltas=sent), replace(asked(), max_norm=1.99)))
    assert (code, message) == ("NORM", "the update's norm is 2, over the limit of 1.99 (upload.max_norm)")


def without(name: TensorName) -> dict[TensorName, torch.Tensor]:
    return {n: d for n, d in deltas().items() if n != name}


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"mask": frozenset({0})}, "SCHEMA", "[0]"),
        ({"deltas": {}}, "SCHEMA", "other tensors than its mask"),
        ({"deltas": without(HEAD)}, "SCHEMA", "head.w"),
        ({"deltas": deltas() | {TensorName("h.1.w"): torch.ones(3, 2)}}, "SCHEMA", "h.1.w"),
        (
            {"deltas": deltas() | {HEAD: torch.ones(1, 2)}},
            "SCHEMA",
            "float32 (1, 2), expected float32 (2, 2)",
        ),
        ({"deltas": deltas() | {HEAD: torch.ones(2, 2).double()}}, "SCHEMA", "head.w is float64 (2, 2)"),
        ({"deltas": deltas() | {HEAD: torch.full((2, 2), nan)}}, "NONFINITE", "head.w"),
        ({"deltas": deltas() | {SCALAR: torch.tensor(-inf)}}, "NONFINITE", "h.2.s"),
        ({"num_examples": 8}, "SCHEMA", "claims 8 training rows; the client declared 7"),
        ({"steps": 0}, "SCHEMA", "0 steps"),
        ({"loss_first": nan}, "NONFINITE", "loss"),
        ({"loss_mean": inf}, "NONFINITE", "the training loss is inf"),
    ],
    ids=str,
)
def test_an_update_that_is_not_what_was_asked_for(changed: dict[str, object], reason: str, words: str) -> None:
    code, message = why(admit(replace(update(), **changed), asked()))  # type: ignore[arg-type]
    assert code == reason
    assert words in message


def test_a_shape_that_would_broadcast_is_refused() -> None:
    """Added to a (2,) tensor, a (1,) tensor would change both of its values."""
    sent = deltas() | {TensorName("h.0.b"): torch.ones(1)}
    assert why(admit(replace(update(), deltas=sent), asked()))[0] == "SCHEMA"


@pytest.mark.parametrize("rows", [0, -1])
def test_rows_that_nobody_declared_are_at_least_one(rows: int) -> None:
    open_ended = replace(asked(), num_examples=None)
    assert admit(replace(update(), num_examples=1), open_ended) is None
    assert why(admit(replace(update(), num_examples=rows), open_ended))[0] == "SCHEMA"


def changed_stats(**changes: float | None) -> Probed:
    """Return a probe whose second tensor of the first layer says something else."""
    first, *others = probed().stats
    weight, bias = first.tensors
    odd = replace(bias, **changes)  # type: ignore[arg-type]
    return replace(probed(), stats=(replace(first, tensors=(weight, odd)), *others))


@pytest.mark.parametrize("name", ["weight_sq", "grad_sq", "half_dot", "snr_sum", "noise_sum"])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_statistic_that_is_not_finite_is_refused(name: str, value: float) -> None:
    assert why(admit(changed_stats(**{name: value}), asked("probed")))[0] == "NONFINITE"


def sketching(*values: float, asked_for: int = 16) -> tuple[str, str]:
    """Return why a first layer's sketch of these numbers is refused; its gradient has the squared norm 4."""
    first, *others = probed().stats
    odd = replace(first, sketch=values or None)
    return why(admit(replace(probed(), stats=(odd, *others)), replace(asked("probed"), sketch=asked_for)))


def test_a_sketch_has_the_numbers_that_were_asked_for() -> None:
    blank = (0.0,) * 16
    assert sketching(*blank[1:])[0] == sketching()[0] == sketching(*blank, asked_for=0)[0] == "SCHEMA"


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_sketch_that_is_not_finite_is_refused(value: float) -> None:
    assert sketching(value, *(0.0,) * 15) == ("NONFINITE", "the sketch of h.0 is not finite")


def test_a_sketch_longer_than_its_gradient_can_make_it_is_refused() -> None:
    """All eight coordinates of a gradient of squared norm 4 in one bucket give 8 * 4 = 32, and no more."""
    first, *others = probed().stats
    sound = replace(probed(), stats=(replace(first, sketch=(32**0.5, *(0.0,) * 15)), *others))
    assert admit(sound, asked("probed")) is None
    assert sketching(33**0.5, *(0.0,) * 15) == ("NORM", "the sketch of h.0 is larger than its gradient can be")


@pytest.mark.parametrize("name", ["weight_sq", "grad_sq"])
def test_a_negative_square_is_refused(name: str) -> None:
    assert why(admit(changed_stats(**{name: -1e-9}), asked("probed")))[0] == "SCHEMA"


@pytest.mark.parametrize("name", ["half_dot", "snr_sum", "noise_sum"])
def test_what_may_be_negative_may_be_but_may_not_be_missing(name: str) -> None:
    """Without it the score would end the run: it would be one client's to stop."""
    assert admit(changed_stats(**{name: -1.0}), asked("probed")) is None
    assert why(admit(changed_stats(**{name: None}), asked("probed")))[0] == "SCHEMA"


def test_statistics_that_were_not_asked_for_are_refused() -> None:
    expected = replace(asked("probed"), statistics=frozenset({Statistic.NORM, Statistic.HALVES}), sketch=0)
    assert why(admit(probed(), expected))[0] == "SCHEMA"
    plain = [tuple(replace(t, snr_sum=None, noise_sum=None) for t in s.tensors) for s in probed().stats]
    fitting = replace(probed(), stats=tuple(LayerStats(tensors, 8) for tensors in plain))
    assert admit(fitting, expected) is None


@pytest.mark.parametrize("name", ["weight_sq", "grad_sq", "half_dot"])
def test_a_square_that_no_float32_gradient_has_is_refused(name: str) -> None:
    """Two elements of at most 3.403e38 have a squared norm of at most 2.316e77."""
    assert admit(changed_stats(**{name: 2.31e77}), asked("probed")) is None
    assert why(admit(changed_stats(**{name: 2.32e77}), asked("probed")))[0] == "NORM"


def test_finite_statistics_whose_sum_is_infinite_are_refused() -> None:
    first, *others = probed().stats
    huge = tuple(replace(t, snr_sum=1.7e308) for t in first.tensors)
    sent = replace(probed(), stats=(LayerStats(huge, 8), *others))
    assert why(admit(sent, asked("probed")))[0] == "NONFINITE"


@pytest.mark.parametrize(
    "stats",
    [
        (),
        probed().stats[:2],
        (*probed().stats, probed().stats[0]),
        (replace(probed().stats[0], num_examples=0), *probed().stats[1:]),
        (LayerStats((TensorStats(6, 1.0, 1.0),), 8), *probed().stats[1:]),
        (LayerStats((TensorStats(2, 1.0, 1.0), TensorStats(6, 1.0, 1.0)), 8), *probed().stats[1:]),
    ],
    ids=["none", "one less", "one more", "no rows", "a tensor less", "tensors swapped"],
)
def test_statistics_of_other_layers_are_refused(stats: tuple[LayerStats, ...]) -> None:
    assert why(admit(replace(probed(), stats=stats), asked("probed")))[0] == "SCHEMA"


def test_a_probe_whose_loss_is_not_finite_is_refused() -> None:
    assert why(admit(replace(probed(), loss=nan), asked("probed")))[0] == "NONFINITE"


def test_statistics_that_were_to_piggyback_have_to_and_others_may_not() -> None:
    assert why(admit(update(), asked("piggybacked"))) == (
        "SCHEMA",
        "the update lacks the statistics that were asked for with it",
    )
    assert why(admit(reply("piggybacked"), asked())) == ("SCHEMA", "the update carries statistics; none were asked for")


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"loss": nan}, "NONFINITE", "the probe's loss is nan"),
        ({"stats": probed().stats[1:]}, "SCHEMA", "statistics of 2 layers, expected 3"),
        ({"stats": changed_stats(grad_sq=inf).stats}, "NONFINITE", "the statistics of h.0 are not finite"),
        ({"stats": changed_stats(grad_sq=-1.0).stats}, "SCHEMA", "negative squared norm"),
        ({"stats": changed_stats(snr_sum=None).stats}, "SCHEMA", "not those that were asked for"),
        ({"stats": changed_stats(weight_sq=1e300).stats}, "NORM", "larger than float32 gradients can be"),
        ({"client": ClientId("b")}, "SCHEMA", "its statistics: it names client 'b'"),
        ({"round": 6}, "SCHEMA", "its statistics: it answers probe of round 7"),
        ({"origin": replace(ORIGIN, attempt=3)}, "SCHEMA", "its statistics: it answers probe of round 6, attempt 3"),
    ],
    ids=str,
)
def test_statistics_that_piggyback_are_held_to_what_a_probe_is_and_refuse_the_whole_answer(
    changed: dict[str, object], reason: str, words: str
) -> None:
    sent = replace(update(), piggybacked=replace(probed(), **changed))  # type: ignore[arg-type]
    code, message = why(admit(sent, asked("piggybacked")))
    assert code == reason
    assert words in message


def test_the_norms_of_an_update_are_its_own_whatever_rides() -> None:
    sent = reply("piggybacked")
    assert isinstance(sent, Update)
    assert admit_update(sent, asked("piggybacked")) == admit_update(update(), asked())


@pytest.mark.parametrize(
    ("loss", "correct", "rows", "reason"),
    [
        (0.0, 0, 0, None),
        (1.0, 0, 0, "SCHEMA"),
        (1.0, 2, 2, None),
        (1.0, 3, 2, "SCHEMA"),
        (1.0, -1, 2, "SCHEMA"),
        (nan, 1, 2, "NONFINITE"),
    ],
)
def test_an_evaluation_has_at_most_as_many_right_as_rows(
    loss: float, correct: int, rows: int, reason: str | None
) -> None:
    found = admit(Evaluated(A, 5, loss, correct, rows, ORIGIN), asked("evaluated"))
    assert (found.reason if found else None) == reason


def test_a_reply_that_is_refused_is_left_as_it_was() -> None:
    sent, before = replace(update(), deltas=deltas() | {HEAD: torch.full((2, 2), nan)}), deltas()
    admit(sent, asked())
    assert all(torch.equal(sent.deltas[n], before[n]) for n in before if n != HEAD)


def test_a_failure_has_no_content_to_refuse() -> None:
    silent: Reply = reply("failure")
    assert admit(silent, Assignment(A, 5, "train", ORIGIN)) is None


HUGE = [1.7e308, 1e300, 1e30]
CLAIMS: list[tuple[str, str, float | int]] = [
    *(("update", name, value) for name in ("loss_first", "loss_mean") for value in (*HUGE, 2e9, -1e-9, -1.7e308)),
    *(("update", "num_examples", value) for value in (2**41, 2**63 - 1, 10**4000, -1, 0)),
    *(("update", "steps", value) for value in (10**13, 10**4000, -1, 0)),
    *(("update", "seconds", value) for value in (*HUGE, 2e9, inf, nan, -1.0)),
    *(("update", "peak_bytes", value) for value in (2**61, 10**4000, -1)),
    *(("probed", "loss", value) for value in (*HUGE, 2e9, -1e-9)),
    *(("probed", "seconds", value) for value in (*HUGE, inf, nan, -1.0)),
    *(("probed", "peak_bytes", value) for value in (2**61, 10**4000, -1)),
    *(("evaluated", "loss_sum", value) for value in (*HUGE, -1e-9, -1.7e308)),
    *(("evaluated", "correct", value) for value in (10**4000, -1)),
    *(("evaluated", "num_examples", value) for value in (2**41, 10**4000, -1)),
]


@pytest.mark.parametrize(("kind", "name", "value"), CLAIMS, ids=lambda v: f"{v:.20}" if isinstance(v, str) else None)
def test_a_finite_number_that_no_honest_client_claims_is_refused(kind: str, name: str, value: float) -> None:
    expected = replace(asked(kind), num_examples=None)
    code, message = why(admit(replace(reply(kind), **{name: value}), expected))  # type: ignore[arg-type]
    assert code in ("SCHEMA", "NONFINITE")
    assert len(message) < 5000


@pytest.mark.parametrize("name", ["loss", "seconds", "peak_bytes"])
def test_statistics_that_piggyback_are_held_to_the_same_ranges(name: str) -> None:
    piggybacking, piggybacked = replace(asked(), piggybacked=asked("probed")), replace(probed(), **{name: 10**30})  # type: ignore[arg-type]
    assert why(admit(replace(update(), piggybacked=piggybacked), piggybacking))[0] == "SCHEMA"


@pytest.mark.parametrize("name", ["snr_sum", "noise_sum"])
@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_ratios_whose_sums_over_clients_would_be_infinite_are_refused(name: str, value: float) -> None:
    assert why(admit(changed_stats(**{name: value}), asked("probed")))[0] in ("NORM", "NONFINITE")


def test_an_evaluation_is_of_the_rows_that_were_declared() -> None:
    sound = reply("evaluated")
    assert isinstance(sound, Evaluated)
    declared = replace(asked("evaluated"), num_examples=sound.num_examples)
    assert admit(sound, declared) is None
    other = replace(declared, num_examples=sound.num_examples + 1)
    assert "held-out rows; the client declared" in why(admit(sound, other))[1]


def test_the_largest_admitted_claims_of_many_clients_have_a_finite_sum() -> None:
    largest = Evaluated(A, 5, 1e9 * 2**40, 0, 2**40, ORIGIN)
    assert admit(largest, replace(asked("evaluated"), num_examples=None)) is None
    assert sum([largest.loss_sum] * 1_000_000) < 1e30
