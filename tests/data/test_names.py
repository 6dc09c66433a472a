from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from fedstrata.data.names import safe_ids


@given(st.lists(st.text(max_size=80), unique=True))
def test_names_are_safe_unique_and_free_of_order(natural: list[str]) -> None:
    names = safe_ids(natural)
    assert list(names) == natural
    assert len(set(names.values())) == len(natural)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,64}", name) for name in names.values())
    assert names == safe_ids(reversed(natural))


def test_safe_ids_stay_as_they_are() -> None:
    assert safe_ids(["art_painting", "deu_latn"]) == {"art_painting": "art_painting", "deu_latn": "deu_latn"}


def test_an_id_without_a_latin_letter_gets_a_hash() -> None:
    name = safe_ids(["東京"])["東京"]
    assert re.fullmatch(r"client-[0-9a-f]{6}", name)
