from __future__ import annotations

import sys

import pytest
from datasets.utils import are_progress_bars_disabled, logging

from fedstrata.data.quiet import quiet


def test_quiet_hides_inside_and_restores_after(capsys: pytest.CaptureFixture[str]) -> None:
    level = logging.get_verbosity()
    with quiet():
        assert are_progress_bars_disabled()
        sys.stderr.write("a bar\n")
    assert not are_progress_bars_disabled()
    assert logging.get_verbosity() == level
    sys.stderr.write("mine\n")
    assert capsys.readouterr().err == "mine\n"


def test_quiet_restores_after_an_error() -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert not are_progress_bars_disabled()
