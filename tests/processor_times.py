"""A pytest plugin that says which files and tests cost most processor time: ``pytest -p processor_times``.

Children are counted in.
Seconds by the clock say little where tests wait or run side by side; these add up to what the suite takes of a machine.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator

import pytest

SHOWN = 25
_SECONDS = "processor seconds"
_BEFORE = pytest.StashKey[float]()
_spent: dict[str, float] = defaultdict(float)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what was spent before a test and its fixtures, which the first to use them pays for."""
    item.stash[_BEFORE] = _processor_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the seconds of a test into its last report, which travels between processes."""
    report = yield
    if report.when == "teardown":
        report.user_properties = [(_SECONDS, _processor_seconds() - item.stash[_BEFORE])]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test took."""
    if report.when == "teardown":
        _spent[report.nodeid] += sum(float(str(v)) for n, v in report.user_properties if n == _SECONDS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the files, and the tests, that took most."""
    files: dict[str, float] = defaultdict(float)
    for test, seconds in _spent.items():
        files[test.partition("::")[0]] += seconds
    terminalreporter.section(f"processor time: {sum(files.values()):.0f} s in {len(files)} files")
    for most in (files, _spent):
        for name, seconds in sorted(most.items(), key=lambda one: -one[1])[:SHOWN]:
            terminalreporter.line(f"{seconds:7.1f} s  {name}")


def _processor_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    return sum(os.times()[:4])
