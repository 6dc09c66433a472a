"""Axes: values land where they should, ticks are round and stay inside, and each axis names its unit once."""

from __future__ import annotations

from sys import float_info

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedstrata.domain.units import UNITS
from fedstrata.report.figures.axes import COUNT, NUMBER, POINTS, SHARE, Axis, Scale


def test_ends_of_a_scale_are_its_ends() -> None:
    for log in (False, True):
        scale = Scale("bytes_up", 1e3, 1e6, 50.0, 250.0, log)
        assert (scale.at(1e3), scale.at(1e6)) == (50.0, 250.0)


@pytest.mark.parametrize(
    ("scale", "suffix", "labels"),
    [
        (Scale("bytes_peak", 0.0, 2.2e9, 0, 1), "GB", ["0", "0.5", "1", "1.5", "2"]),
        (Scale("seconds", 0.0, 0.3, 0, 1), "ms", ["0", "50", "100", "150", "200", "250", "300"]),
        (Scale("seconds", 0.0, 600.0, 0, 1), "min", ["0", "2", "4", "6", "8", "10"]),
        (Scale("flops", 0.0, 3e13, 0, 1), "TFLOP", ["0", "5", "10", "15", "20", "25", "30"]),
        (Scale(SHARE, 0.0, 1.0, 0, 1), "", ["0%", "20%", "40%", "60%", "80%", "100%"]),
        (Scale("bytes_up", 900.0, 2e9, 0, 1, log=True), "", ["1 kB", "100 kB", "10 MB", "1 GB"]),
    ],
)
def test_ticks_are_round_in_human_units(scale: Scale, suffix: str, labels: list[str]) -> None:
    assert (scale.suffix, [label for _, label in scale.ticks()]) == (suffix, labels)


@given(
    unit=st.sampled_from([*UNITS[1:], SHARE]),
    low=st.floats(1e-3, 1e12),
    ratio=st.floats(1.2, 1e6),
    log=st.booleans(),
)
def test_ticks_stay_on_the_axis(unit: str, low: float, ratio: float, log: bool) -> None:
    scale = Scale(unit, low, low * ratio, 10.0, 20.0, log=log and ratio > 20)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert all(10 - 1e-6 <= scale.at(value) <= 20 + 1e-6 for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize("unit", [SHARE, POINTS, COUNT, NUMBER, "bytes_up", "seconds"])
@pytest.mark.parametrize("values", [(0.0,), (3.0,), (-2.0, 5.0), (-1.7e308, 1.7e308), (0.0, 5e-324)])
def test_values_of_any_size_have_room_around_them_and_a_tick(unit: str, values: tuple[float, ...]) -> None:
    scale = Scale.around(values, Axis("a", unit), 0.0, 100.0)
    assert scale.low < scale.high
    assert scale.ticks()


@pytest.mark.parametrize("values", [(3.0,), (5e-324, 1.7e308), (0.41, 0.42), (5.0, 5.5)])
def test_logarithmic_axes_have_two_ticks_however_narrow_or_wide(values: tuple[float, ...]) -> None:
    labels = [label for _, label in Scale.around(values, Axis("a", NUMBER, log=True), 0.0, 100.0).ticks()]
    assert 2 <= len(set(labels)) == len(labels)


def test_counts_have_whole_ticks_and_shares_stay_within_their_range() -> None:
    assert [label for _, label in Scale.around((1.0, 3.0), Axis("rounds", COUNT), 0.0, 1.0).ticks()] == ["1", "2", "3"]
    scale = Scale.around((0.0, 1.0), Axis("accuracy", SHARE), 0.0, 1.0)
    assert (scale.low, scale.high) == (-0.005, 1.005)


def test_names_stand_in_the_place_of_numbers() -> None:
    scale = Scale.around((0.0, 1.0), Axis("weight", COUNT, names=("none", "∞")), 0.0, 1.0)
    assert scale.ticks() == ((0.0, "none"), (1.0, "∞"))


@given(
    values=st.lists(st.floats(-1e3, 1e3) | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
    unit=st.sampled_from([*UNITS[1:], SHARE, POINTS, COUNT, NUMBER]),
    log=st.booleans(),
)
@example(values=[float(2**63)], unit=SHARE, log=False)
@example(values=[float_info.max, -float_info.max], unit=NUMBER, log=False)
def test_whatever_is_drawn_lies_on_its_axis(values: list[float], unit: str, log: bool) -> None:
    values = [abs(value) or 1.0 for value in values] if log else values
    scale = Scale.around(values, Axis("", unit, log), 0.0, 200.0)
    assert all(-0.1 <= scale.at(value) <= 200.1 for value in (*values, *(tick for tick, _ in scale.ticks())))
