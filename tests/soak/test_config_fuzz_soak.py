"""Five thousand generated configurations; the figures are printed at the end (``-s``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from config_fuzz import fates

COUNT = 5000
pytestmark = pytest.mark.soak


def test_five_thousand_configurations_are_refused_by_name_or_play_their_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(fates(range(COUNT), tmp_path, monkeypatch))
    kinds = Counter(fate.kind for fate in found)
    keys = Counter(fate.where for fate in found if fate.kind == "rejected")
    stops = Counter(fate.where for fate in found if fate.kind == "stopped")
    with capsys.disabled():
        print(f"\n{dict(kinds)}; refused by {keys.most_common(10)}; stopped by {dict(stops)}")
    assert kinds.total() == COUNT
    assert min(kinds["rejected"], kinds["finished"]) > COUNT / 4
