"""The command line in this process, in an empty folder."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from commands import Said
from fedstrata.cli.main import invoke


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start, though a shell has its background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup() -> None:
    """Have runs know the steps that other runs of the suite have measured, once something imports what that takes."""
    pricing = sys.modules.get("fedstrata.assembly.pricing")
    if pricing is not None and not hasattr(pricing, "known"):
        from known_steps import Known

        vars(pricing)["known"] = vars(pricing)["measure_step"] = Known()


LENIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Without limits of time, which only a fast machine keeps."""
settings.register_profile("suite", LENIENT, max_examples=30)
settings.register_profile("quick", LENIENT, max_examples=5)
settings.register_profile("soak", LENIENT, max_examples=1000)
settings.load_profile("suite")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in an empty folder and return exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSTRATA_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = invoke(list(arguments))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
