"""Measured errors as a table, and what they have to do with what rounds gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.domain.records import RoundRecord, TheoryRecord
from fedstrata.errors import DataError
from fedstrata.report.theory_table import (
    Correlation,
    TheoryLine,
    correlation,
    read_theory,
    theory_lines,
    within_rounds,
    write_theory,
)
from fedstrata.runs.reading import read_run
from report.synthetic_run import write_run


def line(error: float, decrease: float | None, *, method: str = "m", bound: float = 9.0) -> TheoryLine:
    after = None if decrease is None else 2.0 - decrease
    return TheoryLine("row", method, "2 layers", 0, 0, 2.0, after, error, bound - 1, 1.0, estimated=False)


def error_of(one: TheoryLine) -> float:
    return one.error


def test_rounds_with_a_measured_error_are_lines(tmp_path: Path) -> None:
    def measured(record: RoundRecord) -> RoundRecord:
        theory = TheoryRecord(1.0, 2.0, 3.0, loss_before=0.5, loss_after=float("inf"), estimated=True)
        return replace(record, theory=theory if record.round % 2 else None)

    run = read_run(write_run(tmp_path / "run", rounds=4, change=measured))
    found = theory_lines(run, "a", "b", "c", 5)
    assert found == [TheoryLine("a", "b", "c", 5, r, 0.5, None, 1.0, 2.0, 3.0, estimated=True) for r in (1, 3)]
    assert (found[0].bound, found[0].decrease) == (5.0, None)


NUMBER = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(TEXT, st.integers(0, 2**40), NUMBER, st.none() | NUMBER, st.booleans())))
def test_what_is_written_is_read_to_the_bit(tmp_path_factory: pytest.TempPathFactory, drawn: list) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("theory") / "theory.csv"
    lines = [TheoryLine(t, t[::-1], "b,\n", n, n, maybe, x, x, x, x, estimated=e) for t, n, x, maybe, e in drawn]
    write_theory(path, lines)
    assert read_theory(path) == lines


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "{head}\nrow,m,2,zero,0,,,1,1,1,True\n", "{head}\nrow\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "theory.csv"
    write_theory(path, [])
    path.write_text(text.replace("{head}", path.read_text().strip()))
    with pytest.raises(DataError, match="no table of measured errors"):
        read_theory(path)
    with pytest.raises(DataError, match="no table"):
        read_theory(tmp_path / "absent.csv")


def test_correlations_by_hand() -> None:
    """Decreases 3, 2, 1 against errors 1, 2, 6: ranks are opposite; r = -5 / sqrt(2 * 14)."""
    lines = [line(1.0, 3.0), line(2.0, 2.0), line(6.0, 1.0), line(0.0, None)]
    error = correlation(lines, error_of)
    assert error.rounds == 3
    assert error.spearman == pytest.approx(-1.0)
    assert error.pearson == pytest.approx(-5 / 28**0.5)
    assert correlation(lines, lambda one: one.bound).pearson is None, "all are equal"
    assert correlation(lines[:1], error_of) == Correlation(1, None, None)


def test_within_rounds_what_shrinks_together_over_rounds_is_left_out() -> None:
    """In each of two rounds the larger error gains less, though early rounds have more of both."""
    early = [line(10.0, 5.0), line(11.0, 4.5), line(13.0, 4.0)]
    late = [replace(line(error, decrease), round=1) for error, decrease in ((1.0, 0.5), (2.0, 0.25), (3.0, 0.125))]
    over_all = correlation([*early, *late], error_of).spearman
    assert over_all == pytest.approx(19 / 35), "ranks 4 5 6 1 2 3 against 6 5 4 3 2 1: 1 - 6 * 16 / 210"
    assert within_rounds([*early, *late], error_of) == pytest.approx(-1.0)
    other = replace(late[0], seed=1, error=9.0)
    assert within_rounds([*early, *late, other], error_of) == pytest.approx(-1.0), "alone in its round"


def test_within_rounds_opposite_rounds_cancel() -> None:
    one = [line(1.0, 1.0), line(2.0, 2.0)]
    two = [replace(line(1.0, 2.0), round=1), replace(line(2.0, 1.0), round=1)]
    assert within_rounds([*one, *two], error_of) == pytest.approx(0.0)


@pytest.mark.parametrize("lines", [[], [line(1.0, None)], [line(1.0, 1.0)], [line(1.0, 1.0), line(1.0, 2.0)]])
def test_within_rounds_there_has_to_be_something_to_compare(lines: list[TheoryLine]) -> None:
    assert within_rounds(lines, error_of) is None
