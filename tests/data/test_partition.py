from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.data.natural import NaturalId
from fedstrata.data.partition import Dirichlet, Iid, Partition, Shard
from fedstrata.data.split import Rows, Split
from fedstrata.errors import ConfigError, DataError

SORTED = np.repeat(np.arange(10), 60)
ALL: list[Partition] = [Iid(10), Dirichlet(10, 0.5), Shard(10, 2)]


def _labels_of(split: Split, labels: Rows) -> list[int]:
    return [len(set(labels[rows].tolist())) for rows in split.rows.values()]


def _same(a: Split, b: Split) -> bool:
    return list(a.rows) == list(b.rows) and all(np.array_equal(a.rows[c], b.rows[c]) for c in a.rows)


@pytest.mark.parametrize("partition", ALL, ids=str)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_no_row_is_given_twice_and_none_is_lost_uncounted(partition: Partition, seed: int) -> None:
    split = partition.split(SORTED, seed=seed)
    given_rows = np.concatenate(list(split.rows.values()))
    assert len(set(given_rows.tolist())) == len(given_rows) == len(SORTED) - split.left_over
    assert list(split.rows) == sorted(split.rows) == [f"client-0{i}" for i in range(10)]


@pytest.mark.parametrize("partition", ALL, ids=str)
def test_the_seed_alone_decides(partition: Partition) -> None:
    first = partition.split(SORTED, seed=3)
    assert _same(first, partition.split(SORTED, seed=3))
    assert not _same(first, partition.split(SORTED, seed=4))


@pytest.mark.parametrize("partition", ALL, ids=str)
def test_every_client_gets_rows_of_its_own(partition: Partition) -> None:
    """The released CIFAR-10 loader hands the whole training set to every client."""
    split = partition.split(SORTED, seed=0)
    sizes = [len(rows) for rows in split.rows.values()]
    assert sum(sizes) <= len(SORTED)
    assert max(sizes) < len(SORTED)


@pytest.mark.parametrize("partition", ALL, ids=str)
def test_asking_again_changes_nothing_whatever_was_drawn_between(partition: Partition) -> None:
    """The released XGLUE loader draws a new partition at every call from numpy's global stream."""
    np.random.seed(1)
    first = partition.split(SORTED, seed=0)
    np.random.seed(2)
    np.random.shuffle(np.arange(9))
    assert _same(first, partition.split(SORTED, seed=0))


def test_the_order_of_a_file_does_not_reach_clients() -> None:
    """The released DomainNet loader slices a file in its order; a file sorted by label then skews every client."""
    split = Iid(10).split(SORTED, seed=0)
    assert min(_labels_of(split, SORTED)) == 10
    for rows in split.rows.values():
        assert len(set(SORTED[rows[:20]].tolist())) > 5


def test_rows_inside_a_site_are_shuffled() -> None:
    split = NaturalId("site").split(np.repeat([0, 1], 50), seed=0, ids=("a",) * 100)
    (rows,) = split.rows.values()
    assert len(set((rows >= 50)[:20].tolist())) == 2


def test_iid_shares_differ_by_one_row_at_most() -> None:
    split = Iid(4).split(np.zeros(10, dtype=np.int64), seed=0)
    assert sorted(len(rows) for rows in split.rows.values()) == [2, 2, 3, 3]


def test_a_small_alpha_gives_fewer_labels_than_a_large_one() -> None:
    few = np.mean(_labels_of(Dirichlet(5, 0.1, 1).split(SORTED, seed=0), SORTED))
    many = np.mean(_labels_of(Dirichlet(5, 100.0, 1).split(SORTED, seed=0), SORTED))
    assert few < 8 < many == 10


def test_shards_hold_the_labels_of_a_client_down_and_count_the_rest() -> None:
    split = Shard(7, 2).split(SORTED, seed=0)
    assert max(_labels_of(split, SORTED)) <= 4
    assert split.left_over == 600 - 14 * (600 // 14) == 12
    assert {len(rows) for rows in split.rows.values()} == {84}


def test_every_value_of_a_column_is_a_client() -> None:
    ids = ("Ward B", "ward-a", "Ward B", "ward-a", "ward-a")
    split = NaturalId("ward").split(np.zeros(5, dtype=np.int64), seed=0, ids=ids)
    assert {c: sorted(rows.tolist()) for c, rows in split.rows.items()} == {"ward-a": [1, 3, 4], "ward-b": [0, 2]}
    assert split.natural_ids == {"ward-b": "Ward B"}


def test_dirichlet_that_never_fits_is_one_sentence_with_settings_that_work() -> None:
    with pytest.raises(DataError, match=r"in ten draws of alpha 0.01 over 600 rows, one of 20 clients") as caught:
        Dirichlet(20, 0.01, 10).split(SORTED, seed=0)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    advice = text.split("with this seed ")[1].removesuffix(" works").split(" or ")
    assert any(a.startswith("alpha: ") for a in advice)
    for setting in advice:
        knob, value = setting.split(": ")
        changed = {"clients": 20, "alpha": 0.01, "min_rows": 10, knob: float(value)}
        tried = Dirichlet(int(changed["clients"]), changed["alpha"], int(changed["min_rows"]))
        assert tried.split(SORTED, seed=0).left_over == 0


def test_dirichlet_keeps_to_its_least_rows() -> None:
    split = Dirichlet(10, 0.5, 25).split(SORTED, seed=0)
    assert min(len(rows) for rows in split.rows.values()) >= 25


def test_more_clients_than_rows_is_an_error() -> None:
    with pytest.raises(DataError, match=r"3 rows cannot be split as asked, which takes at least 4"):
        Iid(4).split(np.zeros(3, dtype=np.int64), seed=0)


def test_a_missing_id_is_an_error() -> None:
    with pytest.raises(DataError, match=r"column 'ward' has 1 values for 3 rows"):
        NaturalId("ward").split(np.zeros(3, dtype=np.int64), seed=0, ids=("a",))


def test_bad_settings_are_config_errors() -> None:
    with pytest.raises(ConfigError, match=r"partition iid: clients is 0; it has to be at least 1"):
        Iid(0)
    with pytest.raises(ConfigError, match=r"partition dirichlet: alpha is 0"):
        Dirichlet(10, 0.0)
    with pytest.raises(ConfigError, match=r"partition dirichlet: min_rows is 0"):
        Dirichlet(10, 0.3, 0)
    with pytest.raises(ConfigError, match=r"partition shard: shards_per_client is 0"):
        Shard(10, 0)


def test_splitting_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    NaturalId("ward").split(np.zeros(3, dtype=np.int64), seed=0, ids=("a", "b", "a"))
    Shard(2, 1).split(SORTED, seed=0)
    assert capsys.readouterr() == ("", "")


def test_client_names_sort_as_numbers() -> None:
    split = Iid(120).split(SORTED, seed=0)
    assert list(split.rows)[:2] == ["client-000", "client-001"]
    assert Counter(len(name) for name in split.rows) == {10: 120}
