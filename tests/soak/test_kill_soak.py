"""Kills: 50 random moments, every named point five times, 20 runs whose resumed session is killed too."""

from __future__ import annotations

import pytest

from faults.crash_points import POINTS
from faults.kill_table import Table, kill

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def table() -> Table:
    found = kill(seed=1, random=50, named=5, resumed=20)
    print(f"\n{found}")
    return found


@pytest.mark.parametrize(("kind", "trials"), [("random", 50), ("named", 5 * len(POINTS)), ("resumed", 20)])
def test_a_killed_run_resumes_to_the_same_bits(table: Table, kind: str, trials: int) -> None:
    assert len(table.of(kind)) == trials
    assert [t for t in table.of(kind) if t.differences] == []


@pytest.mark.parametrize(("kind", "share"), [("random", 0.95), ("named", 1.0), ("resumed", 0.9)])
def test_the_kills_hit(table: Table, kind: str, share: float) -> None:
    hits = [hit for t in table.of(kind) for hit in t.hits]
    assert sum(hits) >= share * len(hits), [t.deaths for t in table.of(kind) if not all(t.hits)]
