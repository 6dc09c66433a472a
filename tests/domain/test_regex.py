from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.domain.regex import MOST_STATES, PatternError, pattern_of

TOKENS = [
    *("a", "b", "A", "0", ".", "[ab]", "[^a]", "[]a]", "[a-c]"),
    *("\\.", "\\d", "\\w", "\\b", "\\B", "^", "$", "\\A", "\\Z"),
    *("(", "(?:", ")", "|", "*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{,2}", "{,}", "{2,}", "{", "}", "{x}"),
]
LONG = "encoder.layer." * 20
RUNAWAYS = ["(([a-z.]+)+)+!", "(?:e|e)" * 28 + "!", ".*" * 60 + "!", "(((((a*)*)*)*)*)*!", "(?:[a-z]?){100}!"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join), st.text("abA.0", max_size=7))
def test_a_pattern_is_found_where_the_standard_library_finds_it(text: str, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            standard = re.compile(text)
        pattern = pattern_of(text)
    except (re.error, PatternError):
        return
    assert pattern.found_in(name) == bool(standard.search(name))


@pytest.mark.parametrize("text", RUNAWAYS)
def test_a_pattern_that_would_be_tried_in_countless_ways_is_matched_at_once(text: str) -> None:
    assert not pattern_of(text).found_in(LONG)


@settings(max_examples=50)
@given(st.lists(st.sampled_from(TOKENS), max_size=60).map("".join))
def test_whatever_a_pattern_is_its_parts_are_bounded(text: str) -> None:
    try:
        pattern = pattern_of(text)
    except PatternError:
        return
    assert len(pattern.states) <= MOST_STATES + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a{99999999999}", "is not a regular expression"),
        ("[", "is not a regular expression"),
        ("(a{65535}){65535}", "more than 400 parts"),
        ("((((?:){100}){100}){100}){100}", "more than 400 parts"),
        ("a" * 201, "201 characters"),
        (r"(a)\1", r"'\1' is not understood"),
        ("(?=a)", "'(?=' is not understood"),
        ("(?<!a)b", "'(?<' is not understood"),
        ("(?P<n>a)", "'(?P' is not understood"),
        ("a*+", "'*+' is not understood"),
    ],
)
def test_what_cannot_be_matched_step_by_step_is_refused(text: str, said: str) -> None:
    with pytest.raises(PatternError, match=re.escape(said)):
        pattern_of(text)


def test_a_set_in_a_set_warns_nobody() -> None:
    assert pattern_of("[[e]").found_in("layer")


def test_letters_of_either_case_fit_where_that_is_asked_for() -> None:
    assert pattern_of("(?i)ATTN").found_in("h.0.attn")
    assert not pattern_of("ATTN").found_in("h.0.attn")
