"""YAML that may be anything: values with their places, or one sentence with the place of what is wrong."""

from __future__ import annotations

from math import isnan

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.errors import ConfigError
from fedstrata.parsing import yaml_nodes
from fedstrata.parsing.yaml_text import yaml_value


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yaml_value(text, "c.yaml")
    return str(caught.value)


def nine(first: str, each: str) -> str:
    """Return nine of nine of nine, eight deep: 43 million values in half a kilobyte."""
    levels = (f"a{i}: &a{i} {each % ', '.join([f'*a{i - 1}'] * 9)}\n" for i in range(1, 9))
    return f"a0: &a0 {first}\n" + "".join(levels)


@pytest.mark.parametrize(
    ("text", "column"), [(nine("[x, x]", "[%s]"), 10), (nine("{k: 1}", "{<<: [%s]}"), 13)], ids=["aliases", "merges"]
)
def test_what_explodes_ends_early(text: str, column: int) -> None:
    assert refused(text) == f"c.yaml:1:{column}: with its aliases written out this holds more than 100,000 values"


@pytest.mark.parametrize("value", ["a", "*a"], ids=["scalars", "aliases"])
def test_a_long_list_is_refused_before_it_is_held(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_nodes, "MOST_NODES", 1000)
    assert refused(f"[&a x,{f'{value},' * 5000}x]").endswith("this text holds more than 1,000 keys and values")


def test_a_mistake_at_the_end_of_a_long_text_is_found_by_the_fast_reader_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"{'# ' + 'x' * 98}\n" * 1001 + "- ]\n"
    monkeypatch.setattr(yaml, "SafeLoader", None)  # the slow one: a second for every 100 kB
    assert refused(text).startswith("c.yaml:1002:3: this is not YAML: ")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_what_lies_too_deep_is_said_to_be_deep(opening: str) -> None:
    assert "this lies more than 50 lists or mappings deep; write it flatter" in refused(opening * 3000)


def test_what_is_too_large_is_not_read() -> None:
    assert refused("#" * (4 * 2**20 + 1)) == "c.yaml is larger than 4 MiB; is it the right file?"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("!!bool abc", "bad: 'abc' is no bool, as its tag says; leave the tag out"),
        ("!!int ''", "bad: '' is no int, as its tag says; leave the tag out"),
        ("!!float ''", "bad: '' is no float, as its tag says; leave the tag out"),
        ("!!timestamp abc", "bad: 'abc' is no timestamp, as its tag says; leave the tag out"),
        ("!!int abc", "bad: 'abc' is no value: invalid literal for int() with base 10: 'abc'; put it in quotes"),
        ("!!map x", "bad: this is not YAML: expected a mapping node, but found scalar"),
        ("!!merge x", "bad: this is not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:merge'"),
        ("!!str [x]", "a list cannot be a 'tag:yaml.org,2002:str'; leave the tag out"),
        ("!!set {x}", "a mapping cannot be a 'tag:yaml.org,2002:set'; leave the tag out"),
        ("!!python/name:os.system x", "bad: this is not YAML: could not determine a constructor for the tag"),
        ("2024-13-45", "bad: '2024-13-45' is no value: month must be in 1..12; put it in quotes"),
        ("9223372036854775808", "bad: 9223372036854775808 is beyond whole numbers of 64 bits; put a text in quotes"),
        ("1" * 5000, "bad: this number has 5,000 characters; put a text in quotes"),
        ("0x" + "f" * 5000, "bad: this number has 5,002 characters; put a text in quotes"),
        ("1" + ":59" * 50_000, "bad: this number has 150,001 characters; put a text in quotes"),
        ("*b", "there is no anchor &b before this alias; write the value out"),
        ('"\\ud800"', "bad: '\\ud800' holds half a surrogate pair, which no file can hold; leave it out"),
    ],
)
def test_a_value_that_is_none_is_said_with_its_place(text: str, sentence: str) -> None:
    said = refused(f"ok: 1\nbad: {text}\n")
    assert said.startswith(f"c.yaml:2:6: {sentence}")
    assert len(said) < 200


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &x [*x]", "c.yaml:1:8: an alias (*x) holds itself; write the value out"),
        ("a: &x {<<: *x}", "c.yaml:1:12: an alias (*x) holds itself; write the value out"),
        ("<<: 1", "c.yaml:1:5: '<<' takes in a mapping or a list of mappings; put it in quotes for a key"),
        ("a: 1\n---\nb: 2", "c.yaml:2:1: a second document begins here; keep one in a file"),
        ("a: 1\na: 2", "c.yaml:2:1: 'a' is given twice; keep one"),
        ("? [a]\n: b", "c.yaml:1:3: a key has to be a word, not a list or mapping"),
        ("\ud800", "c.yaml: this is not a text in UTF-8"),
    ],
)
def test_a_text_that_is_wrong_is_said_with_its_place(text: str, sentence: str) -> None:
    assert refused(text) == sentence


def test_aliases_and_merges_mean_what_they_mean_in_yaml() -> None:
    text = "base: &b {lr: 0.1, steps: 5}\na: {<<: *b, lr: 0.2}\nb: {<<: [{lr: 1}, *b]}\nc: [*b, *b]\n"
    values, marks = yaml_value(text, "c.yaml")
    assert values == yaml.safe_load(text)
    assert values["b"] == {"lr": 1, "steps": 5}
    assert (marks["a", "lr"], marks["a", "steps"], marks["c", 1]) == ("c.yaml:2:13", "c.yaml:1:20", "c.yaml:1:7")


def test_the_same_comes_out_where_pyyaml_has_no_reader_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a: [1, 2.5, x]\nb: &b {c: null}\nd: *b\n", "", "just: 'quoted'", "- 1\n- [2]\n"]
    fast = [yaml_value(text, "c.yaml") for text in texts]
    monkeypatch.setattr(yaml_nodes, "_IN_C", None)
    assert [yaml_value(text, "c.yaml") for text in texts] == fast


_LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
"""Without what PyYAML itself writes as a line's end and reads as a blank."""
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(_LETTERS, max_size=8)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_whatever_is_written_is_read(value: object) -> None:
    read, _ = yaml_value(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), "c.yaml")
    assert repr(read) == repr(value) or (isinstance(value, float) and isnan(value))
