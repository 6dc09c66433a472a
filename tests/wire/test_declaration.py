"""What a site declares: read from whatever another machine says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.ids import LayerName
from fedstrata.domain.units import BUDGET_UNITS
from fedstrata.wire.declaration import MOST_TEXT, Declaration
from fedstrata.wire.messages import MOST_ROWS

WORD = Declaration(
    num_examples=120,
    held_out=12,
    budget={"layers": 2.0, "bytes_up": 1e9},
    refused=(LayerName("h.1"), LayerName("h.0")),
    holds=frozenset({"a" * 64, "b" * 64}),
    versions={"torch": "2.9.0", "numpy": "2.1"},
    device="cuda",
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=12)
UNIT = st.sampled_from([*BUDGET_UNITS, "bytes_down", "euros"])
HUGE = st.sampled_from([10**20, 10**400, -(10**400), 1e308, float("inf"), float("nan")])
NEAR = st.fixed_dictionaries(
    {
        "num_examples": st.integers(1, 9) | HUGE | JSON,
        "held_out": st.integers(0, 9) | HUGE | JSON,
        "budget": st.dictionaries(UNIT, st.floats(0, 9) | st.integers(0, 9) | HUGE | PLAIN, max_size=2) | JSON,
        "refused": st.lists(st.text(max_size=8)) | JSON,
        "holds": st.lists(st.text(max_size=8)) | JSON,
        "versions": st.dictionaries(st.text(max_size=8), st.text(max_size=8) | JSON) | JSON,
        "device": st.text(max_size=60) | JSON,
    }
)


def said(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  anything that another machine says
    return {**WORD.to_json(), **changes}


def check(value: object) -> None:
    """A value is a declaration that can be used, or a ``ValueError``."""
    try:
        word = Declaration.from_json(value)
    except ValueError as error:
        sentence = str(error)
    else:
        usable(word)
        sentence = ""
    assert len(sentence) < 200
    sentence.encode()


def usable(word: Declaration) -> None:
    assert 1 <= word.num_examples <= MOST_ROWS
    assert 0 <= word.held_out <= MOST_ROWS
    assert set(word.budget) <= set(BUDGET_UNITS)
    assert all(type(limit) is float and 0 <= limit < float("inf") for limit in word.budget.values())
    assert len(word.device) <= 40
    assert Declaration.from_json(json.loads(json.dumps(word.to_json(), allow_nan=False))) == word


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_declaration_that_was_said_is_the_one_that_is_read() -> None:
    assert Declaration.from_json(json.loads(json.dumps(WORD.to_json()))) == WORD


def test_the_order_of_what_is_held_does_not_matter_and_is_always_the_same() -> None:
    assert WORD.to_json()["holds"] == ["a" * 64, "b" * 64]


@given(JSON)
def test_any_json_is_a_declaration_or_a_value_error(value: object) -> None:
    check(value)


@given(NEAR)
def test_anything_that_looks_like_a_declaration_is_one_or_a_value_error(value: object) -> None:
    check(value)


@pytest.mark.parametrize("name", sorted(WORD.to_json()))
@pytest.mark.parametrize(
    "value",
    [None, True, "x" * 301, 10**400, [[]], [1], {"layers": {}}, nested(50_000)],
    ids=["nothing", "yes", "long", "huge", "lists", "numbers", "mappings", "deep"],
)
def test_no_field_can_be_what_it_is_not(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        Declaration.from_json(said(**{name: value}))


@pytest.mark.parametrize("name", sorted(WORD.to_json()))
def test_every_field_is_needed_and_no_other_is_taken(name: str) -> None:
    without = {key: value for key, value in said().items() if key != name}
    for value in (without, said(more=1)):
        with pytest.raises(ValueError, match=r"needed|other keys|nexpected"):
            Declaration.from_json(value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_examples": 0}, "num_examples: has to be greater than or equal to 1, got 0"),
        ({"num_examples": True}, "num_examples: has to be a whole number, got True"),
        ({"num_examples": 12.0}, "num_examples: has to be a whole number, got 12.0"),
        ({"num_examples": MOST_ROWS + 1}, f"num_examples: .* less than or equal to {MOST_ROWS}"),
        ({"num_examples": 10**4000}, "num_examples: has to be less than or equal to .*, got 1000"),
        ({"num_examples": []}, "num_examples: has to be a whole number, got \\[\\]"),
        ({"num_examples": nested(50_000)}, "too deep"),
        ({"held_out": -1}, "held_out: has to be greater than or equal to 0, got -1"),
        ({"budget": {"layers": float("nan")}}, "budget.layers: has to be a finite number, got nan"),
        ({"budget": {"layers": float("inf")}}, "budget.layers: has to be a finite number, got inf"),
        ({"budget": {"layers": -1}}, "budget.layers: .* greater than or equal to 0, got -1"),
        ({"budget": {"layers": 10**400}}, "budget.layers: .* a finite number, got 1000"),
        ({"budget": {"layers": True}}, "budget.layers: has to be a number, got True"),
        ({"budget": {"bytes_down": 1.0}}, "bytes_down.*it is no unit of a budget; "),
        ({"budget": [["layers", 1]]}, "budget: has to be a mapping of keys to values, got"),
        ({"versions": ["torch"]}, "versions: has to be a mapping of keys to values, got"),
        ({"versions": {"torch": 2}}, "versions.torch: has to be text, got 2"),
        ({"device": {"cuda": 0}}, "device: has to be text, got {"),
        ({"refused": "h.0"}, "refused: has to be a list, got 'h.0'"),
        ({"refused": ["x" * (MOST_TEXT + 1)]}, "refused.0: has to be .*at most 300 characters"),
    ],
)
def test_the_sentence_says_what_cannot_be(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Declaration.from_json(said(**changes))


def test_whole_numbers_are_limits_too_and_become_floats() -> None:
    (limit,) = Declaration.from_json(said(budget={"layers": 2})).budget.values()
    assert type(limit) is float


def test_a_budget_of_nothing_is_a_budget() -> None:
    assert Declaration.from_json(said(budget={"layers": 0})).budget == {"layers": 0.0}


def test_the_name_of_a_device_is_cut_and_not_refused() -> None:
    assert Declaration.from_json(said(device="x" * 200)).device == "x" * 40
