"""Columns of multiple-choice questions: their texts, their lists of choices, and the position of the right one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from fedstrata.errors import DataError

LEAST, MOST = 2, 5
"""How many choices a question may have."""
POSITIONS = tuple(str(i) for i in range(MOST))
"""Names of the labels of every such data set: positions, and no classes."""

Question = tuple[str, tuple[str, ...]]
Place = Callable[[int], str]
"""Names a row for errors: ``qa.parquet row 3``."""


def read_questions(
    questions: Sequence[object], choices: Sequence[object], place: Place, *, columns: tuple[str, str]
) -> tuple[list[Question | None], list[bool]]:
    """Return each row's question and choices, without blanks around them, and whether there is a question.

    Args:
        questions: Values of the column of questions.
        choices: Values of the column of choices.
        place: Names a row.
        columns: Names of the two columns.

    Raises:
        DataError: A question is no text, or its choices are not a list of 2 to 5 texts; with file and row.

    Example:
        >>> read_questions(["Why?", None], [["so ", "no"], []], "a.jsonl row {}".format, columns=("q", "c"))
        ([('Why?', ('so', 'no')), None], [True, False])
    """
    found: list[Question | None] = []
    for row, (question, given) in enumerate(zip(questions, choices, strict=True)):
        if question is not None and not isinstance(question, str):
            raise DataError(
                f"{place(row)}: column '{columns[0]}' holds {type(question).__name__}, not text; name a text column"
            )
        blank = not (question or "").strip()
        found.append(None if blank else (str(question).strip(), _choices(given, place(row), columns[1])))
    return found, [question is not None for question in found]


def _choices(given: Any, place: str, column: str) -> tuple[str, ...]:  # noqa: ANN401  whatever the file holds
    if not isinstance(given, list):
        what = "nothing" if given is None else type(given).__name__
        raise DataError(
            f"{place}: column '{column}' holds {what}, not a list of choices; a Parquet or JSONL file can hold lists"
        )
    if not LEAST <= len(given) <= MOST:
        raise DataError(f"{place}: {len(given)} choices; a question needs {LEAST} to {MOST}")
    for number, choice in enumerate(given):
        if not isinstance(choice, str) or not choice.strip():
            shown = repr(choice) if isinstance(choice, str) or choice is None else type(choice).__name__
            raise DataError(f"{place}: choice {number} is {shown}; write a text, or remove the row")
    return tuple(choice.strip() for choice in given)


def read_answers(
    values: Sequence[object], questions: Sequence[Question | None], place: Place, *, column: str
) -> list[int | None]:
    """Return the position of each row's right choice, ``None`` where there is none or no question.

    Raises:
        DataError: It is no whole number, or no position among the row's choices; with file and row.

    Example:
        >>> read_answers([1.0, None], [("Why?", ("so", "no")), None], "a.jsonl row {}".format, column="answer")
        [1, None]
    """
    found: list[int | None] = []
    for row, (value, question) in enumerate(zip(values, questions, strict=True)):
        if question is None or value is None or value != value:  # NaN is a hole in a column of numbers
            found.append(None)
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value != int(value):
            raise DataError(
                f"{place(row)}: column '{column}' holds {value!r}; an answer is the position of a choice, from 0"
            )
        most = len(question[1]) - 1
        if not 0 <= value <= most:
            raise DataError(f"{place(row)}: answer {int(value)} is outside 0..{most}, the positions of its choices")
        found.append(int(value))
    return found
