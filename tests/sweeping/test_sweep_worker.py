"""What a worker of a sweep says of a run that failed."""

from __future__ import annotations

from importlib import import_module
from multiprocessing import Pipe
from pathlib import Path

import pytest

from fedstrata.assembly.shared import ALONE
from fedstrata.sweeping import worker


def test_own_code_that_fails_is_named_as_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own_parts_of_a_sweep.py"
    file.write_text("def select(*_, **__):\n    return {}['nothing']\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(worker, "play", import_module("own_parts_of_a_sweep").select)
    task = {"folder": str(tmp_path / "run"), "config": "", "marks": [], "keep_model": False}
    here, there = Pipe()
    with here, there:
        said = worker.ended(task, worker.Line(here), ALONE)
    why = f"KeyError: 'nothing'; it was raised in your own code: select ({file}:2)"
    assert said == {"failed": why, "logged": True}
