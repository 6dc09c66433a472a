"""The price of a mask against sums by hand, and the largest moment against every moment."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fedstrata.costs.measured import Bound, Measured
from fedstrata.costs.memory import TEMPORARIES
from fedstrata.costs.protocol import Facts, Workload
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.profile import ALWAYS
from fedstrata.domain.stats import Statistic
from fedstrata.domain.training import MOMENTS
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import ProbePlan, TrainPlan
from price_lists import LAYERS, PHONE, profile

A = ClientId("a")
STEPS = 3
MASKS = [frozenset(m) for size in range(5) for m in combinations(range(4), size)]


def bound(
    *,
    optimizer: str = "sgd",
    device: DeviceProfile | None = None,
    statistics: frozenset[Statistic] = frozenset({Statistic.NORM}),
    probe: tuple[tuple[int, int | None], ...] = ((4, None),),
    sketch: Hashing | None = None,
    margin: float = 0.0,
) -> Bound:
    facts = Facts(
        layers=LAYERS,
        train=TrainPlan(steps=STEPS, epochs=None, batch_size=4, optimizer=optimizer),  # type: ignore[arg-type]
        probe=ProbePlan(1, 4, statistics, sketch),
        workloads={A: Workload(train=((4, None),) * STEPS, probe=probe)},
        devices={} if device is None else {A: device},
        profiles=lambda: (profile(),),
        parameter_bytes=404,
    )
    made = Measured(margin).bind(facts)
    assert isinstance(made, Bound)
    return made


def price(mask: frozenset[int], visit: ClientRound | None = None, **options: object) -> Cost:
    return bound(**options).prices(A, visit or ClientRound()).of(mask)  # type: ignore[arg-type]


def test_flops_of_a_step_are_forward_plus_carry_plus_weights_plus_update() -> None:
    # forward 172; carried through 2, 3 and the head 63; weights 46; update 2 operations for each of 29 parameters
    assert price(frozenset({1, 3})).flops == STEPS * (172 + 63 + 46 + 2 * 29)


def test_the_first_layer_alone_pays_for_the_way_down() -> None:
    first, last = price(frozenset({0})), price(frozenset({3}))
    assert first.flops - last.flops == STEPS * (3 * 30 - 3 + 2 * (10 - 13))


def test_the_empty_mask_costs_the_forward_pass_and_the_head() -> None:
    assert price(frozenset()).flops == STEPS * (172 + 2 + 2 * 5)


def test_the_probe_goes_through_every_layer_whatever_the_mask() -> None:
    probe = 172 + (4 * 30 - 30 + 3) + (20 + 21 + 22 + 23)
    for mask in MASKS:
        assert price(mask, ClientRound(probes=1)).flops - price(mask).flops == probe


def test_every_probe_of_a_round_is_paid_for_and_holds_its_memory_once() -> None:
    """A client that is probed, and measures for the next round while it trains, does both; not at the same time."""
    probe, statistics = 172 + (4 * 30 - 30 + 3) + (20 + 21 + 22 + 23), 4 * 4
    seconds = 1 + 0.5 + 172 / 100 + (4 * 30 - 30 + 3) / 50 + (20 + 21 + 22 + 23) / 25 + statistics / 10
    for mask in MASKS:
        none, one, two = (price(mask, ClientRound(probes=n), device=PHONE) for n in range(3))
        assert [c.flops - none.flops for c in (one, two)] == [probe, 2 * probe]
        assert [c.bytes_up - none.bytes_up for c in (one, two)] == [statistics, 2 * statistics]
        assert [c.seconds - none.seconds for c in (one, two)] == pytest.approx([seconds, 2 * seconds])
        assert two.bytes_peak == one.bytes_peak


def test_bytes_are_deltas_statistics_mask_and_what_is_lacking() -> None:
    found = price(frozenset({0, 2}), ClientRound(probes=1, bytes_down=700), statistics=frozenset({Statistic.SAMPLES}))
    assert found.bytes_up == 40 + 48 + 20 + 4 * 3 * 4
    assert found.bytes_down == 700 + 1


def test_seconds_are_work_by_rate_plus_fixed_times_plus_transfers() -> None:
    found = price(frozenset({3}), ClientRound(bytes_down=99), device=PHONE)
    step = 172 / 100 + 3 / 50 + (23 + 2) / 25 + 4 * 3 * (13 + 5) / 1000 + 0.5
    visit = 1 + 4 * 6 * (13 + 5) / 1000
    assert found.seconds == pytest.approx(visit + STEPS * step + (52 + 20) / 10 + (99 + 1) / 20)


def test_without_a_device_profile_seconds_are_not_known() -> None:
    assert np.isnan(price(frozenset({3})).seconds)
    assert not price(frozenset({3})).fits(Cost.limits(seconds=1e9))


def peak_by_hand(mask: frozenset[int], optimizer: str) -> float:
    """Walk through one step, block by block, and return the most that is held at once."""
    step, lowest = profile(), min(mask, default=4)
    trained = [layer in mask or layer == ALWAYS for layer in step.layer]
    sizes = [200, 40, 44, 48, 52, 20]
    own = sum(size for size, on in zip(sizes, trained, strict=True) if on)
    held = 404 + 16 + own * (1 + MOMENTS[optimizer])
    saved = [
        int(step.saved[lowest, b]) + (int(step.saved_extra[b]) if layer in mask and layer > lowest else 0)
        for b, layer in enumerate(step.layer)
    ]
    moments = []
    for b in range(6):
        moments.append(held + sum(saved[: b + 1]) + int(step.forward_peak[lowest, b]))
        made = sum(size for size, on in zip(sizes[b:], trained[b:], strict=True) if on)
        moments.append(held + sum(saved[: b + 1]) + made + int(step.backward_peak[lowest, b]))
    largest = 52 if mask else 20
    moments.append(held + own + TEMPORARIES[optimizer] * largest)
    return max(moments)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_peak_memory_is_the_largest_moment_of_the_step(optimizer: str) -> None:
    for mask in MASKS:
        assert price(mask, optimizer=optimizer).bytes_peak == peak_by_hand(mask, optimizer), mask


def test_a_probe_that_needs_more_than_training_sets_the_peak() -> None:
    every = frozenset({Statistic.SAMPLES})
    assert price(frozenset(), ClientRound(probes=1), statistics=every).bytes_peak > price(frozenset()).bytes_peak


def test_a_sketch_is_paid_for_in_bytes_and_memory() -> None:
    """Of 46 parameters the hash takes 2 bytes each, and the largest tensor's 13 take 16 while they are sketched."""
    every = frozenset({Statistic.SAMPLES})
    plain, sketched = (
        price(frozenset(), ClientRound(probes=1), statistics=every, sketch=s) for s in (None, Hashing(0, 16))
    )
    assert sketched.bytes_up - plain.bytes_up == 4 * 4 * 16
    assert sketched.bytes_peak - plain.bytes_peak == 2 * (10 + 11 + 12 + 13) + 16 * 13


def test_memory_alone_is_priced_with_a_margin() -> None:
    for mask in MASKS:
        plain, more = price(mask, ClientRound(probes=1)), price(mask, ClientRound(probes=1), margin=0.25)
        assert more.bytes_peak == pytest.approx(1.25 * plain.bytes_peak, rel=1e-12)
        assert (more.flops, more.bytes_up) == (plain.flops, plain.bytes_up)
    assert Measured().margin > 0


def test_a_margin_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="margin is a share of the peak memory"):
        Measured(-0.1)


def test_where_the_step_cannot_be_measured_layers_and_bytes_are_priced() -> None:
    facts = Facts(LAYERS, TrainPlan(), ProbePlan(), {A: Workload(((4, None),))})
    found = Measured().bind(facts).prices(A, ClientRound()).of(frozenset({1}))
    assert (found.layers, found.bytes_up) == (1, 64)
    assert np.isnan([found.flops, found.bytes_peak, found.seconds]).all()
