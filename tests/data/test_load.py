from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedstrata.data.kinds import Digits, Files
from fedstrata.data.load import load_data
from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Dirichlet, Iid, Shard
from fedstrata.data.table import Table
from fedstrata.data.tensors import FederatedData, TensorRows
from fedstrata.domain.ids import ClientId
from fedstrata.errors import DataError


def _lengths(table: Table) -> TensorRows:
    """Prepare texts as their numbers, so that a row can be told by its input."""
    values = torch.tensor([float(text.removeprefix("t")) for text in table.texts()])
    return TensorRows({"x": values}, torch.from_numpy(table.labels), ("a note",))


def _csv(folder: Path, rows: range, name: str = "train.csv") -> None:
    body = "".join(f"t{i},{'even' if i % 2 == 0 else 'odd'},Ward {i % 3}\n" for i in rows)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("note,label,ward\n" + body)


def _load(folder: Path, source: Files, seed: int = 0) -> FederatedData:
    return load_data(source, seed=seed, prepare=_lengths, cache=folder / "cache", base=folder)


def _rows_of(data: FederatedData, client: str) -> tuple[set[float], set[float]]:
    own = data.clients[ClientId(client)]
    train, held_out = (own.rows.inputs["x"][index].tolist() for index in (own.train, own.held_out))
    return set(train), set(held_out)


def test_natural_ids_bring_rows_to_clients_and_the_test_file_to_the_server(tmp_path: Path) -> None:
    _csv(tmp_path, range(12))
    _csv(tmp_path, range(100, 104), "test.csv")
    data = _load(tmp_path, Files(train="train.csv", test="test.csv", text="note", partition=NaturalId("ward")))
    assert list(data.clients) == ["ward-0", "ward-1", "ward-2"]
    assert _rows_of(data, "ward-1") == ({1.0, 4.0, 7.0, 10.0}, set())
    assert data.test.inputs["x"].tolist() == [100.0, 101.0, 102.0, 103.0]
    assert data.labels == ("even", "odd")
    assert data.test.labels.tolist() == [0, 1, 0, 1]


def test_parallel_rows_stay_apart_between_clients_and_between_training_and_test(tmp_path: Path) -> None:
    """Each of 10 sentences is there in German and in Swahili; row i is sentence i // 2."""
    body = "".join(f"t{i},{'even' if i < 10 else 'odd'},{'de' if i % 2 else 'sw'},s{i // 2}\n" for i in range(20))
    (tmp_path / "train.csv").write_text("note,label,language,sentence\n" + body)
    partition = NaturalId("language", clients_per_id=2, disjoint="sentence")
    data = _load(tmp_path, Files(train="train.csv", test_fraction=0.2, text="note", partition=partition))
    sentences = {client: {value // 2 for value in _rows_of(data, client)[0]} for client in data.clients}
    assert list(sentences) == ["de-0", "de-1", "sw-0", "sw-1"]
    assert sorted(len(own) for own in sentences.values()) == [2, 2, 2, 2]
    test = {value // 2 for value in data.test.inputs["x"].tolist()}
    assert sorted(value for own in [*sentences.values(), test] for value in own) == [float(i) for i in range(10)]
    assert len(data.test) == 4
    assert data.card.rows_dropped == {"left over by the partition": 8}
    assert data.card.natural_ids == {"de-0": "de", "de-1": "de", "sw-0": "sw", "sw-1": "sw"}


def test_clients_share_one_set_of_rows(tmp_path: Path) -> None:
    _csv(tmp_path, range(12))
    data = _load(tmp_path, Files(train="train.csv", test_fraction=0.25, text="note", partition=Iid(3)))
    assert len({id(own.rows) for own in data.clients.values()}) == 1


def test_a_test_fraction_is_taken_from_the_training_rows(tmp_path: Path) -> None:
    _csv(tmp_path, range(12))
    data = _load(tmp_path, Files(train="train.csv", test_fraction=0.25, text="note", partition=Iid(3)))
    test = set(data.test.inputs["x"].tolist())
    train = [value for client in data.clients for value in _rows_of(data, client)[0]]
    assert len(test) == 3
    assert sorted([*test, *train]) == [float(i) for i in range(12)]


def test_each_site_is_a_client(tmp_path: Path) -> None:
    _csv(tmp_path, range(4), "sites/Site B/train.csv")
    _csv(tmp_path, range(4, 9), "sites/a/train.csv")
    _csv(tmp_path, range(20, 22), "sites/a/test.csv")
    _csv(tmp_path, range(22, 24), "sites/Site B/test.csv")
    data = _load(tmp_path, Files(sites="sites", test="sites/*/test.csv", text="note"))
    assert {client: _rows_of(data, client)[0] for client in data.clients} == {
        "a": {4.0, 5.0, 6.0, 7.0, 8.0},
        "site-b": {0.0, 1.0, 2.0, 3.0},
    }
    assert sorted(data.test.inputs["x"].tolist()) == [20.0, 21.0, 22.0, 23.0]
    assert data.card.natural_ids == {"site-b": "Site B"}
    assert data.card.partition == "one client per site"


def test_held_out_rows_are_not_trained_on(tmp_path: Path) -> None:
    _csv(tmp_path, range(60))
    data = _load(tmp_path, Files(train="train.csv", test_fraction=0.5, text="note", held_out=0.2, partition=Iid(3)))
    for client in data.clients:
        train, held_out = _rows_of(data, client)
        assert (len(train), len(held_out)) == (8, 2)
        assert not train & held_out


def test_a_small_client_still_trains_and_holds_one_row_out(tmp_path: Path) -> None:
    _csv(tmp_path, range(8))
    data = _load(tmp_path, Files(train="train.csv", test_fraction=0.5, text="note", held_out=0.1, partition=Iid(2)))
    assert {(client.train, client.held_out) for client in data.card.clients.values()} == {(1, 1)}


def test_a_client_with_too_few_rows_is_named(tmp_path: Path) -> None:
    _csv(tmp_path, range(9))
    _csv(tmp_path, range(1), "test.csv")
    source = Files(train="train.csv", test="test.csv", text="note", held_out=0.1, partition=Iid(9))
    with pytest.raises(DataError, match=r"client client-00 has 1 of the 2 rows it needs to train and hold one out"):
        _load(tmp_path, source)


def test_a_clients_held_out_rows_depend_on_its_name_and_the_seed_alone(tmp_path: Path) -> None:
    _csv(tmp_path, range(30))
    _csv(tmp_path, range(2), "test.csv")
    source = Files(train="train.csv", test="test.csv", text="note", held_out=0.3, partition=NaturalId("ward"))
    first, again, other = (_load(tmp_path, source, seed) for seed in (1, 1, 2))
    assert _rows_of(first, "ward-1") == _rows_of(again, "ward-1") != _rows_of(other, "ward-1")


def test_the_card_counts_what_was_kept_and_dropped(tmp_path: Path) -> None:
    _csv(tmp_path, range(11))
    with (tmp_path / "train.csv").open("a") as file:
        file.write(",odd,Ward 1\nt40,,Ward 1\n")
    _csv(tmp_path, range(4), "test.csv")
    data = _load(tmp_path, Files(train="train.csv", test="test.csv", text="note", held_out=0.2, partition=Shard(2, 1)))
    card = data.card
    assert card.files == ("train.csv", "test.csv")
    assert (card.rows_kept, card.rows_test) == (10, 4)
    assert card.rows_dropped == {"no note": 1, "no label": 1, "left over by the partition": 1}
    assert [client.train for client in card.clients.values()] == [4, 4]
    assert sum(int(n) for client in card.clients.values() for n in client.labels.values()) == 10
    assert card.warnings == (
        "a note",
        "2 rows were dropped: 1 no note, 1 no label",
        "1 rows belong to no client's share and are not used",
    )


def test_a_label_without_training_rows_is_a_warning(tmp_path: Path) -> None:
    _csv(tmp_path, range(4))
    (tmp_path / "label_names.json").write_text('["even", "odd", "neither"]')
    data = _load(tmp_path, Files(train="train.csv", test="train.csv", text="note", partition=Iid(2)))
    assert "no training row has label neither" in data.card.warnings


def test_a_fraction_that_leaves_no_row_is_an_error(tmp_path: Path) -> None:
    _csv(tmp_path, range(4))
    with pytest.raises(DataError, match=r"test_fraction 0.01 of 4 rows leaves no test or no training row"):
        _load(tmp_path, Files(train="train.csv", test_fraction=0.01, text="note", partition=Iid(2)))


def test_files_need_a_way_to_become_inputs() -> None:
    with pytest.raises(DataError, match=r"need a function that turns them into model inputs"):
        load_data(Files(train="a.csv", test="b.csv", text="note", partition=Iid(2)), seed=0)


def test_digits_are_split_by_label_skew() -> None:
    data = load_data(Digits(partition=Dirichlet(10, 0.3), held_out=0.1), seed=0)
    assert len(data.clients) == 10
    assert data.card.rows_kept == 899
    assert len(data.test) == 298
    assert any(0 in client.labels.values() for client in data.card.clients.values())


def test_two_loads_give_every_client_the_same_rows() -> None:
    """The released XGLUE loader changes a client's rows between scoring, training and rounds."""
    first, again = (load_data(Digits(held_out=0.1), seed=3) for _ in range(2))
    for client, own in first.clients.items():
        assert torch.equal(own.train, again.clients[client].train)
        assert torch.equal(own.held_out, again.clients[client].held_out)


def test_one_label_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "x,yes\n" * 40)
    source = Files(train="a.csv", test_fraction=0.2, text="text", partition=Iid(2))
    with pytest.raises(DataError, match=r"a.csv: column 'label' holds one label, 'yes'; give two or more"):
        _load(tmp_path, source)
