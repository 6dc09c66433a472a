"""Labels and ids are the same ones in every file of a data set, whatever its format and its other rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fedstrata.data.find_sources import find
from fedstrata.data.kinds import Files, Own
from fedstrata.data.load import load_data
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Iid
from fedstrata.data.read_sources import Columns, read
from fedstrata.data.table import Table
from fedstrata.data.tensors import FederatedData, TensorRows
from fedstrata.errors import DataError

TEXT = Columns(text="text")


def _prepare(table: Table) -> TensorRows:
    return TensorRows({"input_ids": torch.zeros(len(table), 1, dtype=torch.int64)}, torch.from_numpy(table.labels))


def _load(folder: Path, source: Files | Own) -> FederatedData:
    return load_data(source, seed=0, prepare=_prepare, base=folder, cache=folder / "cache")


def _csv(folder: Path, name: str, *rows: str, header: str = "text,label") -> str:
    (folder / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return name


def _plain(folder: Path, train: str, test: str) -> FederatedData:
    return _load(folder, Files(train=train, test=test, text="text", partition=Iid(2)))


def test_one_text_among_numbers_is_refused_and_changes_no_other_row(tmp_path: Path) -> None:
    test = _csv(tmp_path, "test.csv", *(f"t{i},{i}" for i in range(12)))
    rows = [f"t{i},{i % 12}" for i in range(24)]
    good = _plain(tmp_path, _csv(tmp_path, "train.csv", *rows), test)
    assert good.labels == tuple(str(i) for i in range(12))
    assert good.test.labels.tolist() == list(range(12))
    bad = _csv(tmp_path, "train.csv", *rows, "the room a,NA")
    with pytest.raises(
        DataError, match=r"train.csv row 24: column 'label' holds 'NA', and train.csv row 0 the number 0"
    ):
        _plain(tmp_path, bad, test)


def test_train_and_test_may_be_of_two_formats(tmp_path: Path) -> None:
    train = _csv(tmp_path, "train.csv", "a,2", "b,10", "c,1")
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": 10}\n{"text": "b", "label": "1"}\n')
    pq.write_table(pa.table({"text": ["a", "b"], "label": [2.0, None]}), tmp_path / "test.parquet")
    assert _plain(tmp_path, train, "test.jsonl").test.labels.tolist() == [2, 0]
    assert _plain(tmp_path, train, "test.parquet").test.labels.tolist() == [1]


def test_files_of_one_data_set_may_differ_in_type(tmp_path: Path) -> None:
    _csv(tmp_path, "a1.csv", "a,1", "b,")
    _csv(tmp_path, "a2.csv", "c,2")
    pq.write_table(pa.table({"text": ["d"], "label": ["2"]}), tmp_path / "a3.parquet")
    table = read(find("a*", tmp_path), TEXT, tmp_path / "cache")
    assert (table.names, table.labels.tolist(), dict(table.dropped)) == (("1", "2"), [0, 1, 1], {"no label": 1})


def test_a_test_label_that_no_training_row_has_is_refused_with_its_row(tmp_path: Path) -> None:
    train = _csv(tmp_path, "train.csv", "a,1", "b,2")
    with pytest.raises(DataError, match=r"test.csv row 1: column 'label' holds '0', which is not a label.*known: 1, 2"):
        _plain(tmp_path, train, _csv(tmp_path, "test.csv", "a,1", "b,0"))


def test_codes_stay_codes_in_train_and_test(tmp_path: Path) -> None:
    train = _csv(tmp_path, "train.csv", "a,0070", "b,1234", "c,70")
    data = _plain(tmp_path, train, _csv(tmp_path, "test.csv", "a,1234", "b,70"))
    assert (data.labels, data.test.labels.tolist()) == (("0070", "1234", "70"), [1, 2])


def test_declared_names_hold_for_test_rows_that_lie_elsewhere(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "train/label_names.json").write_text('\ufeff["World", "Sports"]', encoding="utf-8")
    train = _csv(tmp_path, "train/a.csv", "a,0", "b,1")
    data = _plain(tmp_path, train, _csv(tmp_path, "test/a.csv", "a,1", "b,0"))
    assert data.test.labels.tolist() == [1, 0]


def test_a_row_with_a_number_for_a_text_is_refused_with_its_row(tmp_path: Path) -> None:
    body = '{"text": "a \\"b\\"", "label": "pos"}\n{"text": "b", "label": "neg"}\n'
    (tmp_path / "a.jsonl").write_text(body + '{"text": 12, "label": "pos"}\n')
    with pytest.raises(DataError, match=r"a.jsonl row 2: column 'text' holds int \(12\), not text; write it in quotes"):
        read(find("a.jsonl", tmp_path), TEXT, tmp_path / "cache")
    (tmp_path / "a.jsonl").write_text(body)
    assert read(find("a.jsonl", tmp_path), TEXT, tmp_path / "cache").texts() == ('a "b"', "b")


def test_one_hospital_is_one_client_however_its_number_is_written(tmp_path: Path) -> None:
    head = "text,label,ward"
    _csv(tmp_path, "train1.csv", "a,x,1", "b,y, 1", 'c,x,"1"', "d,y,007", header=head)
    _csv(tmp_path, "train2.csv", "e,x,1.0", "f,y,", "g,y,  ", "h,x,2.0", "i,y,2", header=head)
    pq.write_table(
        pa.table({"text": ["k", "l"], "label": ["x", "y"], "ward": [1.0, None]}), tmp_path / "train3.parquet"
    )
    test = _csv(tmp_path, "test.csv", "a,x", "b,y")
    data = _load(tmp_path, Files(train="train*", test=test, text="text", partition=NaturalId("ward")))
    assert {c: len(rows.train) for c, rows in data.clients.items()} == {"007": 1, "1": 5, "2": 2}
    assert data.card.rows_dropped == {"no ward": 3}


def test_an_id_that_is_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "x", "ward": [1]}\n')
    with pytest.raises(DataError, match=r"a.jsonl row 0: column 'ward' holds list, not a single value; name a column"):
        read(find("a.jsonl", tmp_path), Columns(text="text", natural_id="ward"), tmp_path / "cache")


def test_a_sites_numbers_are_the_runs_names(tmp_path: Path) -> None:
    rows = _csv(tmp_path, "a.csv", "a;2.0", "b;10", "c; 2", header="text;label")
    data = _load(tmp_path, Own(train=rows, labels=("2", "10"), client="a", text="text"))
    assert next(iter(data.clients.values())).rows.labels.tolist() == [0, 1, 0]
    assert data.card.warnings == ("a.csv is separated by ';'",)
