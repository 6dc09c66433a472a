"""Setting the date during a run changes nothing: deadlines are told on a clock that never jumps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.variants import Variant, outcome, play
from fedstrata.server.rules import Rules

HOUR = 3600.0
TIMED = Variant(rules=Rules(deadline={"probe": 60.0, "train": 60.0, "evaluate": 60.0}))
JUMPS = {"forth": lambda n: n * HOUR, "back": lambda n: -n * HOUR, "to and fro": lambda n: (-1) ** n * HOUR}


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_clock_that_jumps_an_hour_at_every_look_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: Callable[[int], float]
) -> None:
    whole = outcome(play(tmp_path / "calm", TIMED))
    now, looks = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: now + jump(next(looks)))
    monkeypatch.setattr(time, "time_ns", lambda: int((now + jump(next(looks))) * 1e9))
    assert outcome(play(tmp_path / "jumping", TIMED)) == whole
