from __future__ import annotations

import pytest

from fedstrata.data.labels import encode, label_names
from fedstrata.errors import DataError

PLACE = ["a.csv row 0", "a.csv row 1", "a.csv row 2"]


def test_declared_names_win() -> None:
    assert label_names(["yes", "no", "yes"], [None, ("yes", "no")], PLACE) == ("yes", "no")


def test_names_are_sorted() -> None:
    assert label_names(["b", "a", "b"], [None], PLACE) == ("a", "b")


def test_numbers_name_themselves() -> None:
    assert label_names([2, 0, 2], [None], PLACE) == ("0", "1", "2")


def test_names_and_numbers_do_not_mix() -> None:
    with pytest.raises(DataError, match=r"labels mix names .a.csv row 1: 'a'. and numbers .a.csv row 0: 1."):
        label_names([1, "a", "b"], [None], PLACE)


@pytest.mark.parametrize("wrong", [-1, 5_000_000])
def test_a_number_that_is_no_label_is_named_with_its_row(wrong: int) -> None:
    with pytest.raises(DataError, match=rf"a.csv row 1: label {wrong} is not a label number"):
        label_names([0, wrong, 1], [None], PLACE)


def test_a_label_unknown_in_training_is_an_error_with_a_hint() -> None:
    with pytest.raises(DataError, match=r"a.csv row 1: label 'sprots' .* did you mean 'sports'"):
        encode(["sports", "sprots"], ["sports", "world"], PLACE)


def test_a_number_out_of_range_is_an_error() -> None:
    with pytest.raises(DataError, match=r"a.csv row 1: label 2 .* known: 0\.\.1"):
        encode([0, 2], ["no", "yes"], PLACE)
