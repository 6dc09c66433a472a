"""CSV reads back as it was written, whatever a text holds."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from fedstrata.tables.csv_text import csv_text, text_of

ANY = st.characters(codec="utf-8")
TEXT = st.text(st.sampled_from("a=+-@'\",;\r\n\t －") | ANY, max_size=8)


@given(st.lists(st.tuples(TEXT, st.floats(allow_nan=False), st.none() | st.integers())))
def test_texts_and_numbers_come_back(rows: list[tuple[str, float, int | None]]) -> None:
    text = csv_text(("name", "value", "count"), rows)
    head, *found = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert head == ["name", "value", "count"]
    assert [(text_of(a), float(b), int(c) if c else None) for a, b, c in found] == rows


def test_what_a_spreadsheet_would_run_is_marked() -> None:
    assert csv_text(("a",), [("=1+1",), ("\r=1",), ("it's",)]) == "a\n'=1+1\n\"'\r=1\"\nit's\n"
