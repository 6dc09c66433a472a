"""F1, precision, recall and mistakes, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.report.blocks import Fold, Note, Pictures, Table, Text
from fedstrata.report.sections.classes import classes, sums
from fedstrata.report.write_report import write_report
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Confusion, Run
from report.synthetic_run import write_run

FOUND = Confusion(3, ("cat", "dog", "owl"), {(0, 0): 6, (0, 1): 2, (1, 1): 9, (1, 0): 3})
"""Eight cats, of which two are taken for dogs; twelve dogs, of which three are taken for cats; nobody saw an owl."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(read_run(write_run(tmp_path / "a", rounds=3)), confusion=FOUND)


def test_f1_by_hand() -> None:
    """2 * 6 / (8 + 9), 2 * 9 / (12 + 11), and no F1 of a class without rows and predictions."""
    assert [one.f1 for one in sums(FOUND)] == [12 / 17, 18 / 23, None]


def test_the_sentence_the_caveat_and_the_tables(run: Run) -> None:
    text, note, pictures, mistakes, table = classes(run)
    assert isinstance(text, Text)
    assert text.text == (
        "After round 3, on 20 test rows: accuracy 75.0%, macro F1 74.4% "
        "(the mean of 2 classes' F1, each counting the same)."
    )
    assert isinstance(note, Note)
    assert note.text == "Fewer than 10 test rows, so its numbers are coarse: cat."
    assert isinstance(pictures, Pictures)
    assert "dog predicted as cat: 3 of 12 rows" in pictures.items[0].svg
    assert isinstance(mistakes, Fold)
    assert [row for block in mistakes.blocks if isinstance(block, Table) for row in block.rows] == [
        ("dog", "cat", "3", "12"),
        ("cat", "dog", "2", "8"),
    ]
    assert isinstance(table, Table)
    assert table.rows[0] == ("cat", "70.6%", "66.7%", "75.0%", "8", "9")
    assert table.rows[2] == ("owl", "–", "–", "–", "0", "0")


def test_many_classes_have_tables_and_no_picture(run: Run) -> None:
    many = Confusion(1, tuple(f"c{i}" for i in range(77)), {(i, (i + 1) % 77): 20 for i in range(77)})
    found = classes(replace(run, confusion=many))
    assert not any(isinstance(block, Pictures) for block in found)
    assert "macro F1 0.0%" in getattr(found[0], "text", "")


def test_a_run_without_counts_has_no_such_section(tmp_path: Path) -> None:
    assert classes(read_run(write_run(tmp_path / "a", rounds=1))) == ()


def written(tmp_path: Path, content: str) -> Run:
    folder = write_run(tmp_path / "a", rounds=1)
    (folder / "confusion.json").write_text(content)
    return read_run(folder)


def test_the_file_is_read_and_the_page_has_it(tmp_path: Path) -> None:
    run = written(tmp_path, json.dumps({"round": 1, "labels": ["a", "b"], "counts": [[0, 0, 5], [1, 0, 2]]}))
    assert run.confusion == Confusion(1, ("a", "b"), {(0, 0): 5, (1, 0): 2})
    assert "Classes: F1 and mistakes" in write_report([tmp_path / "a"], tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    "content",
    [
        '{"round": 1, "labels": ["a"], "counts": [[0, 1, 5]]}',
        '{"round": 1, "labels": ["a"], "counts": [[0, 0, -5]]}',
        '{"round": 1, "labels": "a", "counts": 5}',
        '{"round": 1, "labels": ["a"], "counts": [[0, 0, 1e400]]}',
        '{"round": 1, "labels": [%s"a"], "counts": [[0, 0, 5]]}' % ('"",' * 100_000),
        "[]",
        "nonsense",
    ],
)
def test_a_file_that_is_not_ours_is_noted_and_the_rest_is_there(tmp_path: Path, content: str) -> None:
    run = written(tmp_path, content)
    assert run.confusion is None
    assert any("confusion.json" in note for note in run.notes)
