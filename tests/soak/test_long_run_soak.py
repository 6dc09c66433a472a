"""A thousand rounds of twenty clients in one process."""

from __future__ import annotations

import pytest

from faults.long_run import Figures
from faults.measuring import MIB, measure

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def figures() -> Figures:
    found = measure(rounds=1000, clients=20)
    print(f"\n{found}")
    return found


def test_memory_does_not_grow(figures: Figures) -> None:
    assert figures.resident_growth <= max(20 * MIB, 0.03 * figures.resident_start)
    assert figures.traced_growth <= MIB


def test_files_and_threads_stay_as_many_and_no_child_is_left(figures: Figures) -> None:
    assert len(set(figures.files)) == len(set(figures.threads)) == 1
    assert figures.children == 0


def test_the_journal_takes_less_than_two_kilobytes_per_client_and_round(figures: Figures) -> None:
    assert figures.journal_bytes < 2000
