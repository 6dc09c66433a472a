from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from fedstrata.data.natural import NaturalId
from fedstrata.data.split import Split
from fedstrata.errors import ConfigError, DataError

LANGUAGES, SENTENCES = ("de", "fr", "sw"), tuple(str(i) for i in range(20))
PARALLEL = list(product(LANGUAGES, SENTENCES))
IDS, VALUES = tuple(row[0] for row in PARALLEL), tuple(row[1] for row in PARALLEL)


def _split(partition: NaturalId, *, seed: int = 0, ids: tuple[str, ...] = IDS, values: tuple[str, ...] = ()) -> Split:
    given_values = (values or VALUES) if partition.disjoint else ()
    return partition.split(np.zeros(len(ids), dtype=np.int64), seed=seed, ids=ids, values=given_values)


def _rows(split: Split) -> dict[str, list[int]]:
    return {str(client): rows.tolist() for client, rows in split.rows.items()}


def test_several_clients_share_the_rows_of_an_id_evenly() -> None:
    split = _split(NaturalId("language", clients_per_id=3))
    assert list(split.rows) == ["de-0", "de-1", "de-2", "fr-0", "fr-1", "fr-2", "sw-0", "sw-1", "sw-2"]
    assert [len(rows) for rows in split.rows.values()] == [7, 7, 6] * 3
    assert sorted(row for rows in _rows(split).values() for row in rows) == list(range(60))
    assert {IDS[row] for row in split.rows[next(iter(split.rows))]} == {"de"}
    assert split.natural_ids == {f"{raw}-{i}": raw for raw in LANGUAGES for i in range(3)}
    assert split.left_over == 0


def test_the_rows_of_an_id_are_shuffled_before_they_are_shared() -> None:
    assert set(_rows(_split(NaturalId("language", clients_per_id=2)))["de-0"]) != set(range(10))


def test_one_client_per_id_is_what_it_was_without_the_option() -> None:
    """The rows and their order as ``flwr_datasets`` gives them; a seed's runs depend on it."""
    whole, shared = _split(NaturalId("language")), _split(NaturalId("language", clients_per_id=2))
    assert _rows(whole)["de"][:3] == [2, 17, 8]
    assert {raw: _rows(shared)[f"{raw}-0"] + _rows(shared)[f"{raw}-1"] for raw in LANGUAGES} == _rows(whole)


@pytest.mark.parametrize("each", [1, 2])
def test_no_value_of_the_disjoint_column_is_at_two_clients(each: int) -> None:
    split = _split(NaturalId("language", clients_per_id=each, disjoint="sentence"))
    seen = Counter(value for rows in _rows(split).values() for value in {VALUES[row] for row in rows})
    assert seen == dict.fromkeys(SENTENCES, 1)
    for client, rows in _rows(split).items():
        assert {IDS[row] for row in rows} == {client.removesuffix("-0").removesuffix("-1")}


@pytest.mark.parametrize("each", [1, 2])
def test_values_are_dealt_evenly_and_the_rest_is_counted(each: int) -> None:
    split = _split(NaturalId("language", clients_per_id=each, disjoint="sentence"))
    sizes = [len(rows) for rows in split.rows.values()]
    assert (len(sizes), sum(sizes), split.left_over) == (3 * each, 20, 40)
    assert max(sizes) - min(sizes) == 1


def test_values_that_few_ids_have_are_dealt_first_so_that_clients_end_even() -> None:
    ids = ("de",) * 10 + ("fr",) * 6
    values = tuple(f"{i}" for i in range(10)) + tuple(f"{i}" for i in range(4, 10))  # 0-3 are in German alone
    for seed in range(10):
        rows = _rows(_split(NaturalId("language", disjoint="sentence"), seed=seed, ids=ids, values=values))
        assert {client: len(own) for client, own in rows.items()} == {"de": 5, "fr": 5}
        assert {0, 1, 2, 3} <= set(rows["de"])


def test_the_seed_alone_decides_who_has_which_value() -> None:
    partition = NaturalId("language", disjoint="sentence")
    first = _rows(_split(partition, seed=3))
    assert first == _rows(_split(partition, seed=3))
    assert any(first != _rows(_split(partition, seed=seed)) for seed in (4, 5))


def test_values_are_not_dealt_in_turn() -> None:
    rows = _rows(_split(NaturalId("language", disjoint="sentence")))
    owner = {VALUES[row]: client for client, own in rows.items() for row in own}
    in_order = [owner[value] for value in sorted(SENTENCES)]
    assert any(mine != next_turn for mine, next_turn in zip(in_order, in_order[3:], strict=False))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12345678")), min_size=1, max_size=40),
    each=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    shuffle=st.randoms(use_true_random=False),
)
def test_whatever_the_rows_each_is_given_once_and_each_value_to_one_client(
    rows: list[tuple[str, str]], each: int, seed: int, shuffle: object
) -> None:
    ids, values = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    partition = NaturalId("id", clients_per_id=each, disjoint="value")
    try:
        split = _split(partition, seed=seed, ids=ids, values=values)
    except DataError:  # a client without rows
        reject()
    dealt = [row for own in _rows(split).values() for row in own]
    assert len(dealt) == len(set(dealt)) == len(rows) - split.left_over
    owners = {(values[row], client) for client, own in _rows(split).items() for row in own}
    assert len(owners) == len({value for value, _ in owners}) == len(set(values))
    for client, own in _rows(split).items():
        assert len({ids[row] for row in own}) == 1
        mine = {(ids[row], values[row]) for row in own}
        assert sum((ids[i], values[i]) in mine for i in range(len(rows))) == len(own), client


def test_too_few_rows_is_one_sentence_with_settings_that_work() -> None:
    with pytest.raises(DataError) as caught:
        _split(NaturalId("language", clients_per_id=5, min_rows=6))
    assert str(caught.value) == (
        "partition natural-id: client de-0 gets 4 rows, fewer than the 6 of min_rows;"
        " with this seed min_rows: 4 or clients_per_id: 3 works"
    )
    assert len(_split(NaturalId("language", clients_per_id=3, min_rows=6)).rows) == 9
    with pytest.raises(DataError, match=r"client de-20 gets 0 rows, .* with this seed clients_per_id: 20 works"):
        _split(NaturalId("language", clients_per_id=21))


def test_an_id_whose_values_are_all_somebody_else_s_is_an_error_with_a_way_out() -> None:
    with pytest.raises(DataError, match=r"client b gets 0 rows, .*remove the rows of that id.* or leave disjoint out"):
        _split(NaturalId("id", disjoint="value"), ids=("a", "a", "b"), values=("1", "1", "1"), seed=_seed_for_a())


def _seed_for_a() -> int:
    """Return a seed under which client ``a`` comes first where both have no row yet."""
    for seed in range(100):
        try:
            _split(NaturalId("id", disjoint="value"), ids=("a", "b"), values=("1", "1"), seed=seed)
        except DataError as error:
            if "client b" in str(error):
                return seed
    raise AssertionError("no such seed")


def test_a_column_of_another_length_is_an_error() -> None:
    with pytest.raises(DataError, match=r"column 'sentence' has 0 values for 60 rows"):
        NaturalId("language", disjoint="sentence").split(np.zeros(60, dtype=np.int64), seed=0, ids=IDS)


def test_bad_settings_are_config_errors() -> None:
    with pytest.raises(ConfigError, match=r"partition natural-id: clients_per_id is 0; it has to be at least 1"):
        NaturalId("ward", clients_per_id=0)
    with pytest.raises(ConfigError, match=r"partition natural-id: min_rows is 0"):
        NaturalId("ward", min_rows=0)
    with pytest.raises(ConfigError, match=r"disjoint is 'ward', the column of the ids"):
        NaturalId("ward", disjoint="ward")


def test_long_names_stay_names() -> None:
    split = _split(NaturalId("ward", clients_per_id=2), ids=("w" * 64, "w" * 64))
    assert len(split.rows) == 2
    assert all(len(client) <= 64 for client in split.rows)


def test_a_partition_says_what_it_is() -> None:
    assert str(NaturalId("ward")) == "one client per value of column 'ward'"
    assert str(NaturalId("language", 2, "sentence")) == (
        "2 clients per value of column 'language', no two of them sharing a value of column 'sentence'"
    )
