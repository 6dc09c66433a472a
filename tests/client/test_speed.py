"""A machine's rates: from times that known rates made, the fit finds those rates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.client.speed import LEAST_SWEEPS, Case, Rates, Work, fit, time_cases

TRUE = Rates(forward=6e10, carry=5e10, weight=8e10, update=4e9, step=0.02, visit=0.05)
FORWARD, LAYER = 1.2e11, 1e10


def training(layers: int, lowest: int, steps: int = 1) -> Work:
    """Ask for a training visit of a model of 12 layers."""
    deep = (12 - lowest) * LAYER * steps
    return Work(FORWARD * steps, deep, layers * LAYER * steps, layers * 1e8 * steps + 1e6, steps, 1)


WORKS = [
    Work(forward=FORWARD, visits=1),
    Work(update=12e8),
    Work(FORWARD, 12 * LAYER, 12 * LAYER, steps=1, visits=1),
    training(0, 12),
    training(12, 0),
    training(1, 0),
    training(1, 6),
    training(1, 11),
    training(0, 12, steps=2),
]


def seconds(rates: Rates) -> list[float]:
    return [rates.seconds(work) for work in WORKS]


def test_seconds_are_the_hand_calculation() -> None:
    rates = Rates(forward=10.0, carry=5.0, weight=2.0, update=4.0, step=0.5, visit=3.0)
    work = Work(forward=20.0, carry=10.0, weight=4.0, update=8.0, steps=2, visits=1)
    assert rates.seconds(work) == 2 + 2 + 2 + 2 + 1 + 3


def test_the_fit_recovers_known_rates() -> None:
    found = fit(WORKS, seconds(TRUE))
    for name in ("forward", "carry", "weight", "update", "step", "visit"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.01)


@settings(deadline=None, max_examples=30)
@given(
    forward=st.floats(1e9, 1e13),
    carry=st.floats(0.3, 3),
    weight=st.floats(0.3, 3),
    update=st.floats(1e9, 1e12),
    fixed=st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)),
)
def test_the_fit_explains_the_times_of_any_machine(
    forward: float, carry: float, weight: float, update: float, fixed: tuple[float, float]
) -> None:
    rates = Rates(forward, carry * forward, weight * forward, update, step=fixed[0], visit=fixed[1])
    times = seconds(rates)
    assert [fit(WORKS, times).seconds(work) for work in WORKS] == pytest.approx(times, rel=0.03)


def test_masks_that_were_not_timed_are_predicted_despite_noise() -> None:
    noise = np.random.default_rng(0).normal(1, 0.03, len(WORKS))
    found = fit(WORKS, [time * error for time, error in zip(seconds(TRUE), noise, strict=True)])
    for lowest, layers in product((3, 9), (1, 3)):
        work = training(layers, lowest)
        assert found.seconds(work) == pytest.approx(TRUE.seconds(work), rel=0.06)


def test_what_the_times_cannot_tell_apart_is_taken_as_equal() -> None:
    works = [Work(w.forward, w.carry, w.carry, update=1e6) for w in WORKS if w.forward] + [Work(update=1e9)]
    found = fit(works, [(w.forward + w.carry + w.weight) / 1e10 + w.update / 1e10 for w in works])
    assert (found.forward, found.carry, found.weight) == pytest.approx((1e10, 1e10, 1e10), rel=0.02)


def test_a_slower_machine_scales_every_rate() -> None:
    fast, slow = fit(WORKS, seconds(TRUE)), fit(WORKS, [3 * time for time in seconds(TRUE)])
    assert slow.forward == pytest.approx(fast.forward / 3, rel=1e-6)
    assert slow.update == pytest.approx(fast.update / 3, rel=1e-6)
    assert slow.visit == pytest.approx(fast.visit * 3, rel=1e-6)


def test_times_that_contradict_a_rate_give_a_bounded_one() -> None:
    works = [Work(forward=1e9), Work(forward=1e9, carry=1e9), Work(weight=1e9), Work(update=1e9)]
    found = fit(works, [1.0, 0.5, 1.0, 1.0])
    common = 4e9 / 2.5
    assert common < found.carry <= 20.001 * common


class Clock:
    """A clock that moves when work is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, times: Iterator[float]) -> None:
        self.now += next(times)


def test_medians_without_the_first_run() -> None:
    clock, runs = Clock(), iter([99.0, 1.0, 5.0, 2.0])
    case = Case("a", Work(), lambda: clock.work(runs))
    assert time_cases([case], seconds=0, watch=lambda name, *, done, total: None, clock=clock) == (2.0,)


def test_cases_are_timed_in_turn() -> None:
    order: list[str] = []
    cases = [Case(name, Work(), partial(order.append, name)) for name in "abc"]
    time_cases(cases, seconds=0, watch=lambda name, *, done, total: None, clock=Clock())
    assert "".join(order) == "abc" * (LEAST_SWEEPS + 1)


def test_more_time_gives_more_sweeps() -> None:
    clock, told = Clock(), []
    ones = iter(lambda: 1.0, None)
    case = Case("a", Work(), lambda: clock.work(ones))
    time_cases([case], seconds=10, watch=lambda name, *, done, total: told.append((done, total)), clock=clock)
    assert told[0] == (0, LEAST_SWEEPS + 1)
    assert told[-1] == (9, 10)
