"""Values of a declared type: written in one form, and read from no other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isnan, nan
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PlainSerializer, TypeAdapter

from fedstrata.parsing.json_text import json_value
from fedstrata.parsing.typed import listed, plain, shown, typed


class Fruit(StrEnum):
    PEAR = "pear"
    PLUM = "plum"


@dataclass(frozen=True, slots=True)
class Pair:
    count: int
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Basket:
    name: str
    rows: tuple[Annotated[Pair, listed(Pair)], ...]
    kinds: Annotated[frozenset[Fruit], PlainSerializer(sorted)] = frozenset()
    heaviest: Pair = Pair(0)


BASKET = TypeAdapter(Basket)
SOUND = Basket("a", (Pair(2, 0.5), Pair(3)), frozenset(Fruit), Pair(3, 1.5))
SAID = {
    "name": "a",
    "rows": [[2, 0.5], [3, None]],
    "kinds": ["pear", "plum"],
    "heaviest": {"count": 3, "weight": 1.5},
}
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=12)


def test_a_value_is_written_in_one_form_and_comes_back() -> None:
    assert plain(BASKET, SOUND) == SAID
    assert typed(BASKET, SAID) == SOUND


@given(st.floats(), st.integers(0, 2**63 - 1))
def test_numbers_come_back_to_the_bit(weight: float, count: int) -> None:
    sent = Basket("a", (Pair(count, weight),), heaviest=Pair(count, weight))
    got = typed(BASKET, json_value(json.dumps(plain(BASKET, sent)).encode()))
    for one in (got.rows[0], got.heaviest):
        assert one.weight is not None
        assert one.weight.hex() == weight.hex() or (isnan(one.weight) and isnan(weight))
        assert one.count == count


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_written_as_such_wherever_it_stands(value: float) -> None:
    got = typed(BASKET, plain(BASKET, Basket("a", (Pair(1, value),), heaviest=Pair(1, value))))
    assert str(got.rows[0].weight) == str(got.heaviest.weight) == str(value)


@pytest.mark.parametrize("key", SAID)
def test_every_key_is_needed_also_where_there_is_a_default(key: str) -> None:
    with pytest.raises(ValueError):
        typed(BASKET, {name: value for name, value in SAID.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": 1}, "it has other keys than it should have"),
        ({"heaviest": {"count": 3}}, "it has other keys than it should have"),
        ({"heaviest": {"count": 3, "weight": 1.5, "more": 1}}, "it has other keys than it should have"),
        ({"kinds": ["pear", "pear"]}, "an element twice"),
        ({"kinds": ["fig"]}, "kinds.0: has to be 'pear' or 'plum', got 'fig'"),
        ({"name": 7}, "name: has to be text, got 7"),
        ({"name": "\ud800"}, "JSON"),
        ({"rows": [[2]]}, "rows.0.1: this key is needed"),
        ({"rows": [[2, 0.5, 1]]}, "rows.0: "),
        ({"rows": [{"count": 2, "weight": 0.5}]}, "rows.0: has to be a list"),
        ({"rows": [["2", 0.5]]}, "rows.0.0: has to be a whole number, got '2'"),
        ({"rows": [[True, 0.5]]}, "rows.0.0: has to be a whole number, got True"),
        ({"rows": [[2.0, 0.5]]}, "rows.0.0: has to be a whole number, got 2.0"),
        ({"rows": [[2, "0.5"]]}, "rows.0.1: has to be a number, got '0.5'"),
        ({"rows": [[2, False]]}, "rows.0.1: has to be a number, got False"),
        ({"rows": None}, "rows: has to be a list, got nothing"),
    ],
    ids=str,
)
def test_another_form_is_refused_and_the_sentence_says_where(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as raised:
        typed(BASKET, SAID | changes)
    assert words in str(raised.value)


def test_a_whole_number_may_stand_where_a_number_does() -> None:
    assert typed(BASKET, SAID | {"heaviest": {"count": 3, "weight": 2}}).heaviest.weight == 2.0


@pytest.mark.parametrize("value", [None, 1, "a", [], {}, object(), {"name": object()}])
def test_what_is_none_at_all_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        typed(BASKET, value)


@given(JSON, st.sampled_from(sorted(SAID)))
def test_any_json_in_any_place_is_a_value_or_a_short_value_error(value: object, key: str) -> None:
    for said in (value, SAID | {key: value}):
        sentence = ""
        try:
            typed(BASKET, said)
        except ValueError as error:
            sentence = str(error)
        assert len(sentence) < 300
        sentence.encode()


def test_nesting_however_deep_is_a_value_error() -> None:
    nested: list[object] = []
    for _ in range(50_000):
        nested = [nested]
    with pytest.raises(ValueError, match="too deep"):
        typed(BASKET, SAID | {"rows": nested})


def test_a_value_is_shown_in_a_few_letters() -> None:
    assert shown("x" * 1000) == f"'{'x' * 40}' and more"
    assert shown(-(10**4000)) == "a number of more than 20 digits"
    values: tuple[object, ...] = (None, True, 1.5, {})
    assert [shown(value) for value in values] == ["None", "True", "1.5", "a dict"]
