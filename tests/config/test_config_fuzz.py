"""Generated configurations: refused with the key that is wrong, or played to the end; never anything else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from config_cases import GOOD, configuration
from config_fuzz import fates

COUNT = 50


def test_configurations_without_an_edit_are_the_good_one() -> None:
    assert sum(configuration(number) == GOOD for number in range(COUNT)) > COUNT / 20


def test_a_configuration_is_refused_by_name_or_plays_its_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Counter(fate.kind for fate in fates(range(COUNT), tmp_path, monkeypatch))
    assert min(found["rejected"], found["finished"]) > COUNT / 4
    assert found["stopped"] < COUNT / 20
