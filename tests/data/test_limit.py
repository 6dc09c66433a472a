"""Small versions of data sets: which rows they keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedstrata.data.kinds import Files
from fedstrata.data.limit import limited
from fedstrata.data.load import load_data
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Iid
from fedstrata.data.table import Table, Texts
from fedstrata.data.tensors import FederatedData, TensorRows
from fedstrata.errors import ConfigError


def numbered(rows: int) -> Table:
    where = np.stack([np.zeros(rows, dtype=np.int64), np.arange(rows)], axis=1)
    labels = np.zeros(rows, dtype=np.int64)
    return Table(Texts(tuple(f"t{i}" for i in range(rows))), labels, ("no", "yes"), where, ("a.csv",), "mark")


def test_rows_are_kept_in_order_and_a_smaller_limit_keeps_some_of_them() -> None:
    few, many = (limited(numbered(50), most, ())[0].where[:, 1].tolist() for most in (5, 20))
    assert (len(few), len(many)) == (5, 20)
    assert few == sorted(few) != list(range(5))
    assert set(few) < set(many)


def test_a_limit_that_all_rows_keep_changes_nothing() -> None:
    table = numbered(4)
    assert limited(table, 4, ()) == (table, 0)
    assert limited(table, None, ()) == (table, 0)


def test_every_group_keeps_as_many() -> None:
    kept, beyond = limited(numbered(9), 2, ["a"] * 6 + ["b", "c", "c"])
    rows = kept.where[:, 1]
    assert ((rows < 6).sum(), (rows == 6).sum(), (rows > 6).sum(), beyond) == (2, 1, 2, 4)


def _numbers(table: Table) -> TensorRows:
    return TensorRows({"x": torch.tensor([float(t[1:]) for t in table.texts()])}, torch.from_numpy(table.labels))


def _load(folder: Path, source: Files, seed: int = 0) -> FederatedData:
    return load_data(source, seed=seed, prepare=_numbers, cache=folder / "cache", base=folder)


def _csv(path: Path, rows: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("note,label,id\n" + "".join(f"t{i},{i % 2},{'abc'[i % 3]}\n" for i in range(rows)))


def test_limits_count_before_the_split_and_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    _csv(tmp_path / "train.csv", 60)
    _csv(tmp_path / "test.csv", 30)
    source = Files(
        train="train.csv", test="test.csv", text="note", partition=NaturalId("id", min_rows=1), rows=20, test_rows=7
    )
    one, other = _load(tmp_path, source, 0), _load(tmp_path, source, 1)
    assert (one.card.rows_kept, one.card.rows_test) == (20, 7)
    for data in (one, other):
        first = next(iter(data.clients.values())).rows
        assert torch.equal(first.inputs["x"], next(iter(one.clients.values())).rows.inputs["x"])
        assert torch.equal(data.test.inputs["x"], one.test.inputs["x"])
    assert one.card.rows_dropped == {"beyond data.rows": 40, "beyond data.test_rows": 23}
    assert "data.rows keeps a part of the data: 40 rows are not used" in one.card.warnings


def test_with_sites_every_site_and_every_test_file_keeps_as_many(tmp_path: Path) -> None:
    for site, rows in (("north", 12), ("south", 4)):
        _csv(tmp_path / site / "train.csv", rows)
        _csv(tmp_path / site / "test.csv", rows)
    data = _load(tmp_path, Files(sites="*/train.csv", test="*/test.csv", text="note", rows=6, test_rows=3))
    assert {str(c): len(own.train) for c, own in data.clients.items()} == {"north": 6, "south": 4}
    assert len(data.test) == 6


def test_test_rows_that_are_taken_from_the_training_rows_are_limited_too(tmp_path: Path) -> None:
    _csv(tmp_path / "train.csv", 40)
    source = Files(train="train.csv", test_fraction=0.5, text="note", partition=Iid(2), rows=10, test_rows=5)
    assert (_load(tmp_path, source).card.rows_kept, len(_load(tmp_path, source).test)) == (10, 5)


@pytest.mark.parametrize("key", ["rows", "test_rows"])
def test_a_limit_below_one_is_an_error(key: str) -> None:
    with pytest.raises(ConfigError, match=f"data: {key} is 0; it has to be at least 1, or null"):
        Files(train="a", test="b", text="note", partition=Iid(2), **{key: 0})  # type: ignore[arg-type]
