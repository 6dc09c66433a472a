"""The fuzz targets in short: their seeds are sound, and some inputs of each end as they should."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

import fuzz_events
import fuzz_run_folder
import fuzz_yaml
from driver import Target, fuzz

TARGETS: dict[str, Callable[[], Target]] = {
    "yaml": fuzz_yaml.target,
    "events": fuzz_events.target,
    "run folder": fuzz_run_folder.target,
}
RUNS = 150


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="fedstrata")


@pytest.mark.parametrize("made", TARGETS.values(), ids=TARGETS)
def test_nothing_but_errors_of_ours_comes_of_any_input(made: Callable[[], Target]) -> None:
    target = made()
    for seed in target.seeds:
        target.test(seed)
    found = fuzz(target, RUNS)
    assert found.inputs == RUNS
    assert 0 < found.refused < RUNS
    assert found.findings == {}, "\n".join(trace for _, _, trace in found.findings.values())
