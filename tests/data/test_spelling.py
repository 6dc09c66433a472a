from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from fedstrata.data.spelling import spelled


@pytest.mark.parametrize("value", [1, 1.0, "1", " 1", "1.0", "1.", "1.000", Decimal("1.00"), "\u00a01"])
def test_one_is_one(value: object) -> None:
    assert spelled(value) == "1"


@pytest.mark.parametrize("value", [None, "", "  ", "\t", float("nan"), Decimal("nan")])
def test_nothing_is_nothing(value: object) -> None:
    assert spelled(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0070", "0070"),
        ("00.0", "00.0"),
        ("NA", "NA"),
        ("null", "null"),
        (True, "True"),
        (2**63, "9223372036854775808"),
        (float(2**60), "1152921504606846976"),
        (0.5, "0.5"),
        ("1e3", "1e3"),
        ("1,0", "1,0"),
        ("A b", "A b"),
        (float("inf"), "inf"),
        (date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_what_is_not_a_whole_number_stays(value: object, text: str) -> None:
    assert spelled(value) == text


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"1"])
def test_several_values_are_none(value: object) -> None:
    with pytest.raises(TypeError, match=r"not a single value"):
        spelled(value)
