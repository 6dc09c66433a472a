"""The report's section on measured errors."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

from fedstrata.domain.records import RoundRecord, TheoryRecord
from fedstrata.report.blocks import Pictures, Text
from fedstrata.report.sections.theory import theory
from fedstrata.report.write_report import render
from fedstrata.runs.reading import read_run
from report.synthetic_run import write_run


def measured(record: RoundRecord) -> RoundRecord:
    """Return a round whose error is half of its bound; f falls from 2 by 1 / (1 + round)."""
    t = record.round - 1
    found = TheoryRecord(2.0**-t, 2.0**-t, 2.0**-t, loss_before=2.0, loss_after=2.0 - 1 / (1 + t))
    return replace(record, theory=found)


def words(path: Path) -> str:
    return " ".join(block.text for block in theory(read_run(path)) if isinstance(block, Text))


def test_error_bound_and_gain_are_drawn_and_told(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", rounds=6, change=measured)
    said = words(path)
    assert "The error is 0.5 of its bound in the median of 6 rounds, from 0.5 to 0.5" in said
    assert "Decrease of the training loss f in a round against E: correlation 0.996" in said
    assert "of ranks 1, over 6 rounds" in said
    (pictures,) = (block for block in theory(read_run(path)) if isinstance(block, Pictures))
    assert len(pictures.items) == 2
    assert "E, the error, round 1: 1" in pictures.items[0].svg
    page = render([read_run(path)])
    assert "Error of each round, and its bound" in page
    assert page == render([read_run(path)])


def test_a_run_that_measured_nothing_has_no_such_section(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", rounds=2))
    assert theory(run) == ()
    assert "its bound" not in render([run])


def test_estimates_are_told_as_such_and_have_no_gains(tmp_path: Path) -> None:
    def estimated(record: RoundRecord) -> RoundRecord:
        return replace(record, theory=TheoryRecord(1.0, 2.0, 3.0, estimated=True))

    path = write_run(tmp_path / "run", rounds=2, change=estimated)
    assert "estimated from sketches" in words(path)
    assert "What the rounds gained was not measured" in words(path)


def test_errors_of_zero_and_infinity_are_no_trouble(tmp_path: Path) -> None:
    def odd(record: RoundRecord) -> RoundRecord:
        value = 0.0 if record.round < 3 else inf
        return replace(record, theory=TheoryRecord(value, value, 0.0, loss_before=1.0, loss_after=0.5))

    zero = write_run(tmp_path / "zero", rounds=2, change=odd)
    assert "It is 0 in all of 2 rounds" in words(zero)
    assert render([read_run(zero), read_run(write_run(tmp_path / "odd", rounds=4, change=odd))])
