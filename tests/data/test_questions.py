"""Reading of questions with their choices: what is refused, with file and row, and what is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedstrata.data.find_sources import find
from fedstrata.data.read_options import Columns
from fedstrata.data.read_sources import read
from fedstrata.data.table import Table
from fedstrata.errors import DataError

COLUMNS = Columns(question="question", choices="choices", label="answer")
FINE = {"question": "Which?", "choices": ["this", "that"], "answer": 1}


def table(folder: Path, *rows: dict[str, Any], columns: Columns = COLUMNS) -> Table:
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(find("qa.jsonl", folder), columns, folder / "cache")


def test_questions_are_read_with_lists_of_unlike_length(tmp_path: Path) -> None:
    rows = [FINE, {"question": " Who? ", "choices": ["a", " b ", "c", "d", "e"], "answer": 4}]
    found = table(tmp_path, *rows)
    assert found.questions() == (("Which?", ("this", "that")), ("Who?", ("a", "b", "c", "d", "e")))
    assert (found.labels.tolist(), found.names) == ([1, 4], ("0", "1", "2", "3", "4"))


def test_parquet_lists_are_read(tmp_path: Path) -> None:
    columns = {"question": ["Which?"], "choices": [["this", "that"]], "answer": pa.array([0], pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "qa.parquet")
    found = read(find("qa.parquet", tmp_path), COLUMNS, tmp_path / "cache")
    assert found.questions() == (("Which?", ("this", "that")),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"answer": 2}, "qa.jsonl row 1: answer 2 is outside 0..1, the positions of its choices"),
        ({"answer": -1}, r"qa.jsonl row 1: answer -1 is outside 0..1"),
        ({"answer": 0.5}, "qa.jsonl row 1: column 'answer' holds 0.5; an answer is the position of a choice, from 0"),
        ({"answer": float("inf")}, "qa.jsonl row 1: column 'answer' holds inf; an answer is the position of a choice"),
        ({"choices": ["this", " "]}, "qa.jsonl row 1: choice 1 is ' '; write a text, or remove the row"),
        ({"choices": ["this"]}, "qa.jsonl row 1: 1 choices; a question needs 2 to 5"),
        ({"choices": list("abcdef")}, "qa.jsonl row 1: 6 choices; a question needs 2 to 5"),
        ({"choices": None}, "qa.jsonl row 1: column 'choices' holds nothing, not a list of choices"),
    ],
)
def test_what_is_no_question_is_an_error_with_file_and_row(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, FINE, FINE | wrong)


def test_choices_that_are_no_list_are_an_error(tmp_path: Path) -> None:
    message = (
        "qa.jsonl row 0: column 'choices' holds str, not a list of choices; a Parquet or JSONL file can hold lists"
    )
    with pytest.raises(DataError, match=message):
        table(tmp_path, FINE | {"choices": "this, that"})


def test_an_answer_by_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qa.jsonl row 0: column 'answer' holds 'B'; an answer is the position"):
        table(tmp_path, FINE | {"answer": "B"})


def test_rows_without_question_or_answer_are_dropped_and_counted(tmp_path: Path) -> None:
    found = table(tmp_path, FINE, FINE | {"question": None}, FINE | {"question": " "}, FINE | {"answer": None})
    assert (len(found), dict(found.dropped)) == (1, {"no question": 2, "no answer": 1})


def test_a_missing_column_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qa.jsonl has no column 'choice'; did you mean 'choices'"):
        table(tmp_path, FINE, columns=Columns(question="question", choices="choice", label="answer"))


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name, row in (("arc", FINE), ("piqa", FINE | {"answer": 9})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"piqa/test.jsonl row 0: answer 9 is outside 0..1"):
        read(find("*/test.jsonl", tmp_path), COLUMNS, tmp_path / "cache")


def test_label_names_beside_the_file_do_not_name_positions(tmp_path: Path) -> None:
    (tmp_path / "label_names.json").write_text('["no", "yes"]')
    assert table(tmp_path, FINE).names == ("0", "1", "2", "3", "4")
