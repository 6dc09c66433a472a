"""Whatever well-formed messages a server sends, what leaves is what the site's own file allows."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from site_messages import held_against_its_file

SHORT = settings(
    max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@SHORT
@given(st.data())
def test_what_leaves_is_what_the_file_allows(data: st.DataObject) -> None:
    held_against_its_file(data, 8)
