"""Runs that are killed at any moment resume to the bits of a run that nobody touched."""

from __future__ import annotations

import pytest

from faults.crash_points import POINTS
from faults.kill_table import Table, kill
from faults.variants import VARIANTS

RANDOM, RESUMED = 4, 2


@pytest.fixture(scope="module")
def table() -> Table:
    return kill(seed=0, random=RANDOM, named=1, resumed=RESUMED)


@pytest.mark.parametrize("kind", ["random", "named", "resumed"])
def test_a_killed_run_resumes_to_the_same_bits(table: Table, kind: str) -> None:
    assert [t for t in table.of(kind) if t.differences] == []


def test_every_named_point_was_reached(table: Table) -> None:
    assert [t.deaths for t in table.of("named") if not all(t.hits)] == []
    assert len(table.of("named")) == len(POINTS)


def test_most_random_moments_fell_into_the_run(table: Table) -> None:
    hit = sum(all(t.hits) for t in table.of("random"))
    assert hit >= RANDOM - 2


def test_resumed_sessions_were_killed_too(table: Table) -> None:
    assert all(len(t.hits) == 2 for t in table.of("resumed"))
    assert sum(all(t.hits) for t in table.of("resumed")) >= RESUMED - 1


def test_every_variant_was_killed(table: Table) -> None:
    assert {t.variant for t in table.trials} == set(VARIANTS)
