from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.card import ClientData, DataCard
from fedstrata.domain.ids import ClientId

A, B = ClientId("a"), ClientId("b")


def _card(counts: tuple[int, int]) -> DataCard:
    return DataCard(
        files=("train.csv",),
        labels=("no", "yes"),
        rows_kept=sum(counts) + 9,
        rows_test=20,
        rows_dropped={"no text": 2},
        partition="one client per site",
        clients={
            A: ClientData(sum(counts) - 1, 1, {"no": counts[0], "yes": counts[1]}),
            B: ClientData(8, 1, {"no": 9, "yes": 0}),
        },
    )


def test_card_shows_exact_counts_by_default() -> None:
    shown = _card((12, 3)).to_json()
    assert shown["rows_kept"] == 24
    assert shown["clients"] == {
        "a": {"train": 14, "held_out": 1, "labels": {"no": 12, "yes": 3}},
        "b": {"train": 8, "held_out": 1, "labels": {"no": 9, "yes": 0}},
    }


def test_small_cells_are_hidden_and_the_others_rounded_down() -> None:
    shown = _card((12, 3)).to_json(min_cell=5)
    assert shown["clients"] == {
        "a": {"train": 10, "held_out": "<5", "labels": {"no": 10, "yes": "<5"}},
        "b": {"train": 5, "held_out": "<5", "labels": {"no": 5, "yes": "<5"}},
    }
    assert shown["rows_dropped"] == {"no text": "<5"}


@given(st.integers(0, 4), st.integers(10, 50))
def test_a_hidden_count_changes_no_label_cell(small: int, large: int) -> None:
    shown = _card((large, small)).to_json(min_cell=5)["clients"]
    other = _card((large, 4 - small)).to_json(min_cell=5)["clients"]
    assert isinstance(shown, dict)
    assert isinstance(other, dict)
    assert shown["a"]["labels"] == other["a"]["labels"]


def test_card_is_json() -> None:
    card = _card((12, 3)).to_json(min_cell=5)
    assert json.loads(json.dumps(card)) == card
