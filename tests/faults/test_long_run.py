"""A long run holds no more at its end than after its first rounds; ``make soak`` plays a longer one."""

from __future__ import annotations

import pytest

from faults.long_run import Figures
from faults.measuring import MIB, measure


@pytest.fixture(scope="module")
def figures() -> Figures:
    return measure(rounds=100, clients=2)


def test_memory_does_not_grow(figures: Figures) -> None:
    assert figures.resident_growth <= 20 * MIB
    assert figures.traced_growth <= MIB


def test_files_and_threads_stay_as_many_and_no_child_is_left(figures: Figures) -> None:
    assert len(set(figures.files)) == len(set(figures.threads)) == 1
    assert figures.children == 0


def test_the_journal_takes_less_than_two_kilobytes_per_client_and_round(figures: Figures) -> None:
    assert figures.journal_bytes < 2000
