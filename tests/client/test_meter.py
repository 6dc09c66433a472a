"""The meter of peak memory: it sees what the work held at once, and nothing that earlier work left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fedstrata.client import meter
from fedstrata.client.meter import Meter, metered

CPU = torch.device("cpu")
MEGABYTE = 10**6
HELD = 300 * MEGABYTE

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident set is read from Linux's /proc")


def touch(megabytes: int, pieces: int) -> None:
    """Allocate and write that much in equal pieces, all held at once, then free it."""
    held = [torch.ones(megabytes * MEGABYTE // pieces // 4) for _ in range(pieces)]
    assert len(held) == pieces


def measured(megabytes: int, pieces: int) -> int:
    with metered(CPU, HELD) as peak:
        touch(megabytes, pieces)
    assert peak.bytes is not None
    return peak.bytes


@linux
@pytest.mark.parametrize("pieces", [1, 50, 2000], ids=["one-block", "4MB-blocks", "100kB-blocks"])
def test_peak_is_what_was_held_and_what_the_body_touched(pieces: int) -> None:
    assert measured(200, pieces) - HELD == pytest.approx(200 * MEGABYTE, rel=0.05)


@linux
@pytest.mark.parametrize("pieces", [20, 500])
def test_heap_that_earlier_work_freed_hides_nothing(pieces: int) -> None:
    touch(500, pieces)
    assert measured(200, 50) - HELD == pytest.approx(200 * MEGABYTE, rel=0.05)


@linux
def test_a_peak_before_the_body_does_not_count() -> None:
    touch(500, 1)
    assert measured(50, 1) - HELD == pytest.approx(50 * MEGABYTE, rel=0.05)


@linux
def test_an_idle_body_is_below_the_noise() -> None:
    with metered(CPU, HELD) as peak:
        pass
    assert peak.bytes is not None
    assert 0 <= peak.bytes - HELD < 5 * MEGABYTE


def test_other_systems_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with metered(CPU, HELD) as peak:
        touch(1, 1)
    assert peak.bytes is None


def test_where_the_high_water_mark_cannot_be_reset_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(meter, "_RESET", tmp_path / "no" / "clear_refs")
    with metered(CPU, HELD) as peak:
        touch(1, 1)
    assert peak.bytes is None


def test_where_the_status_cannot_be_read_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(meter, "_RESET", tmp_path / "clear_refs")
    monkeypatch.setattr(meter, "_STATUS", tmp_path / "no_status")
    with metered(CPU, HELD) as peak:
        touch(1, 1)
    assert peak.bytes is None


@linux
def test_a_c_library_without_trim_is_measured_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_trimmer", lambda: None)
    assert measured(200, 1) - HELD == pytest.approx(200 * MEGABYTE, rel=0.05)


def test_what_the_body_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="body"), metered(CPU, HELD):
        raise ValueError("body")


def wanted(gauge: Meter, phase: str, kind: object) -> bool:
    with gauge.of(phase, kind, device=CPU, held=lambda: HELD) as peak:
        pass
    return peak.bytes is not None


@linux
def test_the_first_work_of_a_phase_is_let_go_by() -> None:
    gauge = Meter()
    assert [wanted(gauge, "probe", 0), wanted(gauge, "train", 0)] == [False, False]
    assert [wanted(gauge, "probe", 0), wanted(gauge, "train", 0)] == [True, True]


@linux
def test_every_kind_is_measured_once_and_repeated_afterwards() -> None:
    gauge = Meter()
    asked: list[str] = []

    def measured_as(kind: str) -> int | None:
        def held() -> int:
            asked.append(kind)
            return HELD

        with gauge.of("train", kind, device=CPU, held=held) as peak:
            pass
        return peak.bytes

    assert measured_as("first") is None
    found = [measured_as(kind) for kind in ("a", "b", "a", "b", "first")]
    assert asked == ["a", "b", "first"]
    assert (found[2], found[3]) == (found[0], found[1])
    assert None not in found


def test_what_is_held_is_asked_only_where_it_is_measured() -> None:
    def held() -> int:
        raise AssertionError("nothing is measured here")

    with Meter().of("train", 0, device=CPU, held=held) as peak:
        pass
    assert peak.bytes is None
