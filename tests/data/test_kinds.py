"""What data may be said to be, and the two kinds of which only a part is at hand: one site's, and the server's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from fedstrata.data.kinds import Data, Digits, Files, Own, Remote
from fedstrata.data.load import load_data
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Iid
from fedstrata.data.table import Table
from fedstrata.data.tensors import FederatedData, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError, DataError

FILES = partial(Files, train="a.csv", test="b.csv", text="note", partition=Iid(2))
OWN = partial(Own, train="rows.csv", labels=("even", "odd"), client="north", text="note")
REMOTE = partial(Remote, test="test.csv", text="note")


def _numbers(table: Table) -> TensorRows:
    """Prepare texts as their numbers, so that a row can be told by its input."""
    values = torch.tensor([float(text.removeprefix("t")) for text in table.texts()])
    return TensorRows({"x": values}, torch.from_numpy(table.labels), ("a note",))


def _csv(path: Path, *rows: str) -> None:
    path.write_text("note,label\n" + "".join(f"{row}\n" for row in rows))


def _load(folder: Path, source: Data, seed: int = 0) -> FederatedData:
    return load_data(source, seed=seed, prepare=_numbers, cache=folder / "cache", base=folder)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (partial(FILES, sites="d"), "give either 'train' or 'sites'"),
        (partial(FILES, test=None), "give either 'test' or 'test_fraction'"),
        (partial(FILES, test_fraction=0.2), "give either 'test' or 'test_fraction'"),
        (partial(FILES, image="x"), "give one input column, either 'text' or 'image'"),
        (partial(FILES, partition=None), "give a 'partition'"),
        (partial(FILES, train=None, sites="d"), "each site is a client; remove 'partition'"),
        (partial(FILES, test=None, test_fraction=1.5), "test_fraction is 1.5"),
        (partial(FILES, max_length=0), "max_length is 0"),
        (partial(FILES, held_out=1.0), "held_out is 1.0"),
        (partial(Digits, held_out=-0.1), "held_out is -0.1"),
        (partial(Digits, partition=NaturalId("x")), "digits have no natural id"),
        (partial(OWN, image="x"), "give one input column, either 'text' or 'image'"),
        (partial(OWN, labels=("no",)), "labels has 1 of the two names that it needs at least"),
        (partial(OWN, labels=("no", "yes", "no")), "labels hold 'no' twice"),
        (partial(OWN, client="St. Mary"), "'St. Mary' is no name of a client; use 1 to 64 of a-z, 0-9"),
        (partial(OWN, client=""), "'' is no name of a client"),
        (partial(OWN, client="n" * 65), "is no name of a client"),
        (partial(OWN, max_length=0), "max_length is 0"),
        (partial(OWN, held_out=1.0), "held_out is 1.0"),
        (partial(REMOTE, text=None), "give one input column, either 'text' or 'image'"),
        (partial(REMOTE, labels=()), "labels has 0 of the two names"),
        (partial(REMOTE, max_length=-1), "max_length is -1"),
        (partial(REMOTE, held_out=-0.1), "held_out is -0.1"),
    ],
)
def test_contradictions_are_config_errors(source: partial[Data], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source()


def test_a_sites_own_rows_are_one_client_without_test_rows(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", *(f"t{i},{'odd' if i % 2 else 'even'}" for i in range(10)))
    data = _load(tmp_path, OWN(held_out=0.2))
    own = data.clients[ClientId("north")]
    assert list(data.clients) == ["north"]
    assert (len(own.train), len(own.held_out), len(data.test)) == (8, 2, 0)
    assert sorted(own.rows.inputs["x"][torch.cat([own.train, own.held_out])].tolist()) == [float(i) for i in range(10)]
    assert own.rows.labels.tolist() == [0, 1] * 5
    assert data.labels == ("even", "odd")
    assert (data.card.rows_kept, data.card.rows_test, data.card.files) == (10, 0, ("rows.csv",))


def test_no_test_rows_are_of_the_form_of_the_others(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,even", "t1,odd")
    test = _load(tmp_path, OWN()).test
    inputs, labels = test.take(torch.arange(0))
    assert (inputs["x"].shape, inputs["x"].dtype, labels.dtype) == ((0,), torch.float32, torch.int64)


def test_a_site_need_not_have_every_label(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,odd", "t1,odd")
    data = _load(tmp_path, OWN())
    assert data.clients[ClientId("north")].rows.labels.tolist() == [1, 1]
    assert "no training row has label even" in data.card.warnings


def test_a_label_that_the_run_does_not_know_is_an_error_with_file_row_and_nearest_label(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,odd", "t1,evn")
    with pytest.raises(
        DataError,
        match=r"rows.csv row 1: column 'label' holds 'evn', which is not a label of the run; did you mean 'even'",
    ):
        _load(tmp_path, OWN())


def test_rows_without_text_or_label_are_dropped_and_counted(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,odd", ",odd", "t2,", "t3,even")
    data = _load(tmp_path, OWN())
    assert data.card.rows_dropped == {"no note": 1, "no label": 1}
    assert "2 rows were dropped: 1 no note, 1 no label" in data.card.warnings


def test_a_number_in_a_sites_file_is_the_label_that_is_called_so_and_not_the_one_at_its_place(tmp_path: Path) -> None:
    """Names that the server sorted as text: '10' comes before '2'."""
    _csv(tmp_path / "rows.csv", "t0,2", "t1,10", "t2,1")
    data = _load(tmp_path, OWN(labels=("1", "10", "2")))
    assert data.clients[ClientId("north")].rows.labels.tolist() == [2, 1, 0]


def test_a_number_where_the_run_has_words_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,0", "t1,1")
    words = r"rows.csv row 0: column 'label' holds '0', .* known: even, odd; name the numbers in a label_names"
    with pytest.raises(DataError, match=words):
        _load(tmp_path, OWN())
    (tmp_path / "label_names.json").write_text('["odd", "even"]')
    assert _load(tmp_path, OWN()).clients[ClientId("north")].rows.labels.tolist() == [1, 0]


def test_a_site_without_enough_rows_is_refused(tmp_path: Path) -> None:
    _csv(tmp_path / "rows.csv", "t0,even")
    with pytest.raises(DataError, match="client north has 1 of the 2 rows it needs to train and hold one out"):
        _load(tmp_path, OWN(held_out=0.5))


def test_the_server_of_remote_sites_has_test_rows_and_no_client(tmp_path: Path) -> None:
    _csv(tmp_path / "test.csv", "t5,yes", "t6,no", "t7,")
    data = _load(tmp_path, REMOTE())
    assert data.clients == {}
    assert data.test.inputs["x"].tolist() == [5.0, 6.0]
    assert (data.labels, data.test.labels.tolist()) == (("no", "yes"), [1, 0])
    assert (data.card.rows_kept, data.card.rows_test, data.card.partition) == (0, 2, "rows at the sites")
    assert data.card.warnings == ("a note", "1 rows were dropped: 1 test: no label")


def test_labels_that_the_server_names_are_the_runs_whatever_the_test_rows_hold(tmp_path: Path) -> None:
    _csv(tmp_path / "test.csv", "t5,yes", "t6,yes")
    data = _load(tmp_path, REMOTE(labels=("yes", "perhaps", "no")))
    assert (data.labels, data.test.labels.tolist()) == (("yes", "perhaps", "no"), [0, 0])
    with pytest.raises(
        DataError, match=r"test.csv row 0: column 'label' holds 'yes', which is not a label of the run; known: no, ja"
    ):
        _load(tmp_path, REMOTE(labels=("no", "ja")))


def test_test_rows_of_one_label_need_the_others_to_be_named(tmp_path: Path) -> None:
    _csv(tmp_path / "test.csv", "t5,yes", "t6,yes")
    with pytest.raises(DataError, match="column 'label' holds one label, 'yes'; give two or more"):
        _load(tmp_path, REMOTE())
