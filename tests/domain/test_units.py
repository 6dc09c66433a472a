from __future__ import annotations

import pytest

from fedstrata.domain.units import amount, check_unit, shown
from fedstrata.errors import BudgetError


@pytest.mark.parametrize(
    ("unit", "written", "value"),
    [
        ("layers", 2, 2.0),
        ("bytes_up", "1.5 MB", 1.5e6),
        ("bytes_peak", "8 GiB", 8 * 1024**3),
        ("bytes_peak", "100", 100.0),
        ("flops", "3 TFLOP", 3e12),
        ("flops", "2e9", 2e9),
        ("seconds", "2 min", 120.0),
    ],
)
def test_amounts_as_people_write_them(unit: str, written: float | str, value: float) -> None:
    assert amount(unit, written, "budget").of(1.0) == value


def test_a_share_is_of_full_fine_tuning() -> None:
    assert amount("flops", "25%", "budget").of(400.0) == 100.0


@pytest.mark.parametrize(
    ("unit", "written", "words"),
    [
        ("bytes_up", "much", "not a number; write a number such as 1.5 GB"),
        ("seconds", "3 TFLOP", "is no unit of it; write a number such as 90 s"),
        ("layers", -1, "layers: -1; it must be 0 or more"),
        ("flops", float("nan"), "must be 0 or more"),
        ("flops", "1.2.3", "not a number"),
    ],
)
def test_what_is_no_amount_is_refused_with_an_example(unit: str, written: float | str, words: str) -> None:
    with pytest.raises(BudgetError, match=words):
        amount(unit, written, "budget 'fixed'")


def test_a_misspelt_unit_is_refused_with_the_nearest() -> None:
    with pytest.raises(BudgetError, match="did you mean 'bytes_peak'"):
        check_unit("byte_peak", "budget")


def test_what_a_client_is_sent_is_no_budget() -> None:
    with pytest.raises(BudgetError, match="bytes_down"):
        check_unit("bytes_down", "budget")


@pytest.mark.parametrize(
    ("unit", "value", "words"),
    [
        ("bytes_up", 999.0, "999 B up"),
        ("bytes_up", 999_999.0, "1.00 MB up"),
        ("seconds", 0.25, "0.25 s"),
        ("flops", 5e15, "5.00 PFLOP"),
    ],
)
def test_values_as_people_read_them(unit: str, value: float, words: str) -> None:
    assert shown(unit, value) == words
