from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fedstrata.data.kinds import Files
from fedstrata.data.label_checks import check_labels, check_test
from fedstrata.data.load import load_data
from fedstrata.data.partition import Iid
from fedstrata.data.table import Table, Texts
from fedstrata.data.tensors import TensorRows
from fedstrata.errors import DataError


def _table(*labels: str, texts: Sequence[str] = ()) -> Table:
    names = tuple(sorted(set(labels)))
    rows = np.arange(len(labels), dtype=np.int64)
    return Table(
        Texts(tuple(texts) or tuple(f"text {i}" for i in rows)),
        np.array([names.index(label) for label in labels], dtype=np.int64),
        names,
        np.stack([np.zeros_like(rows), rows], axis=1),
        ("a.csv",),
        "",
    )


def test_common_labels_need_no_word() -> None:
    assert check_labels(_table(*["yes", "no"] * 20), "label") == ()


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(DataError, match=r"a.csv: column 'label' holds one label, 'yes'; give two or more"):
        check_labels(_table("yes", "yes"), "label")


def test_answers_are_no_labels() -> None:
    answers = [f"Dear customer, number {i} is on its way" + " and on" * 20 for i in range(30)] * 1 + ["Thank you"] * 10
    with pytest.raises(DataError, match=r"column 'response' holds 31 different labels such as 'Dear .* in 40 rows, so"):
        check_labels(_table(*answers), "response")


def test_ids_are_no_labels_but_a_first_trial_may_have_few_rows() -> None:
    with pytest.raises(DataError, match=r"holds 20 different labels in 20 rows, .* name a column of few labels"):
        check_labels(_table(*(f"row {i}" for i in range(20))), "label")
    assert check_labels(_table(*(f"row {i}" for i in range(19))), "label") == ()


def test_labels_that_differ_by_case_or_blanks_only_are_noted() -> None:
    (note,) = check_labels(_table(*["pos", "Pos", "new  york", "New York", "neg"] * 8), "label")
    assert "'Pos' and 'pos'" in note
    assert "'New York' and 'new  york'" in note


def test_a_label_that_looks_like_a_hole_is_noted() -> None:
    (note,) = check_labels(_table(*["NA", "yes"] * 20), "label")
    assert note.startswith("'NA' is a label of column 'label' like any other; empty its cells")


def test_labels_with_one_row_each_are_noted() -> None:
    (note,) = check_labels(_table(*["yes", "no"] * 20, "maybe"), "label")
    assert note == "1 labels of column 'label' have one row each, too few to learn them: 'maybe'"


def test_a_label_as_long_as_a_text_is_noted() -> None:
    (note,) = check_labels(_table(*["yes", "no " * 50] * 20), "label")
    assert note.startswith("column 'label' holds a label of 150 characters ('no no no")


def test_texts_that_are_numbers_are_noted() -> None:
    (note,) = check_labels(_table("yes", "no", texts=["1", "2.5"]), "label")
    assert note.startswith("every text of a.csv is a number")


def test_test_rows_of_one_label_are_noted() -> None:
    train = _table(*["no", "yes"] * 20)
    (note,) = check_test(train.take(np.array([1, 3])))
    assert note == "every test row has label 'yes', so that accuracy says nothing of the others"


def test_a_label_whose_rows_are_all_held_out_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "x,yes\n" * 9 + "x,no\n")
    (tmp_path / "b.csv").write_text("text,label\nx,yes\nx,no\n")
    source = Files(train="a.csv", test="b.csv", text="text", held_out=0.5, partition=Iid(2))

    def prepare(table: Table) -> TensorRows:
        return TensorRows({"input_ids": torch.zeros(len(table), 1, dtype=torch.int64)}, torch.from_numpy(table.labels))

    notes = {load_data(source, seed=s, prepare=prepare, base=tmp_path, cache=tmp_path).card.warnings for s in range(8)}
    assert notes == {(), ("no client trains on label no: its rows are held out or nobody's",)}
