"""A pytest plugin that says which test files cost most processor time: ``pytest -p processor_times``.

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
    """Add up the tests of each file."""
    if report.when == "teardown":
        _spent[report.nodeid.partition("::")[0]] += sum(
            float(str(v)) for n, v in report.user_properties if n == _SECONDS
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the files that took most."""
    terminalreporter.section(f"processor time: {sum(_spent.values()):.0f} s in {len(_spent)} files")
    for file, seconds in sorted(_spent.items(), key=lambda one: -one[1])[:SHOWN]:
        terminalreporter.line(f"{seconds:7.1f} s  {file}")


def _processor_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    return sum(os.times()[:4])
