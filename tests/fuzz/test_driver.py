"""The driver of the fuzz targets: its own findings, bounds and repeatability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

import driver
from driver import MEBIBYTE, Target, fuzz, main, nth


def grow(data: bytes, rng: Random, _seeds: Sequence[bytes]) -> bytes:
    return data + rng.randbytes(1)


def target(test: Callable[[bytes], object], *, most_seconds: float = 0.05) -> Target:
    return Target("toy", (b"a", b"bb"), grow, test, (ValueError,), most_seconds, 32 * MEBIBYTE)


def test_an_input_depends_on_its_seed_and_number_alone() -> None:
    seen: list[bytes] = []
    one = target(seen.append)
    fuzz(one, 20)
    whole, seen[:] = list(seen), []
    fuzz(one, 8)
    fuzz(one, 12, first=8)
    assert seen == whole == [nth(one, 0, number) for number in range(20)]
    assert [nth(one, 1, number) for number in range(20)] != whole


def test_errors_that_are_allowed_are_counted_and_others_are_found_once_per_line() -> None:
    def test(data: bytes) -> None:
        if data[:1] == b"a":
            raise ValueError("refused")
        raise KeyError("a bug")

    found = fuzz(target(test), 50)
    assert found.inputs == 50
    assert 0 < found.refused < 50
    (kind,) = found.findings
    assert kind.startswith("KeyError ")
    number, data, trace = found.findings[kind]
    assert data == nth(target(test), 0, number)
    assert "KeyError: 'a bug'" in trace


def test_an_input_that_never_ends_is_found() -> None:
    def test(_data: bytes) -> None:
        while True:
            pass

    found = fuzz(target(test, most_seconds=0.01), 1)
    assert [kind.split()[0] for kind in found.findings] == ["TooMuch"]


def test_what_is_slow_at_its_first_use_alone_is_no_finding() -> None:
    calls = []

    def test(_data: bytes) -> None:
        calls.append(1)
        while len(calls) == 1:
            pass

    assert fuzz(target(test, most_seconds=0.01), 3).findings == {}


def test_an_input_that_takes_much_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter((10 * MEBIBYTE, 90 * MEBIBYTE, 90 * MEBIBYTE))
    monkeypatch.setattr(driver, "_peak", lambda: next(peaks))
    ((_, _, trace),) = fuzz(target(lambda _: None), 1).findings.values()
    assert "it took 80 MiB" in trace


def test_the_command_prints_keeps_and_replays_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "KEPT", tmp_path)

    def test(data: bytes) -> None:
        if data[:2] == b"bb":
            raise KeyError("a bug")

    assert main(target(test), ["-runs=30"]) == 1
    (kept,) = (tmp_path / "toy").iterdir()
    said = capsys.readouterr().out
    assert f"is kept as {kept}" in said
    assert "toy: 30 inputs, 30 taken, 0 refused" in said
    assert "1 findings" in said
    assert main(target(test), [str(kept)]) == 1
    assert main(target(lambda _: None), [str(kept)]) == 0
    with pytest.raises(SystemExit, match="there is no option -rums"):
        main(target(test), ["-rums=3"])


def test_progress_says_how_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "EVERY", -1.0)
    said: list[str] = []
    fuzz(target(lambda _: None), 2, tell=said.append)
    assert said[0].startswith("toy: 1 of 2 inputs, ")
    assert said[-1].endswith(" 0:00 left")
