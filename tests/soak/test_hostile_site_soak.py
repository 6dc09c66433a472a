"""Many hostile but well-formed messages to sites: what leaves is what their files allow."""

from __future__ import annotations

from collections import Counter
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from site_messages import held_against_its_file

pytestmark = pytest.mark.soak
MANY = settings(
    max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_many_messages_leave_what_the_files_allow() -> None:
    answered: Counter[int] = Counter()

    @MANY
    @given(st.data())
    def play(data: st.DataObject) -> None:
        answered[held_against_its_file(data, 25)] += 1

    play()
    sites, pieces = answered.total(), sum(n * times for n, times in answered.items())
    print(f"\n{sites:,} sites, {pieces:,} pieces of work answered, {process_time():.0f} s of processor time")
    assert pieces > sites
