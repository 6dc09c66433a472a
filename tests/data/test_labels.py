from __future__ import annotations

import pytest

from fedstrata.data.labels import encode, label_names, numbers_in, read_labels
from fedstrata.errors import DataError


def place(row: int) -> str:
    return f"a.csv row {row}"


def _read(*values: object, order: tuple[str, ...] | None = None, typed: bool = False) -> list[str | None]:
    return read_labels(values, order, place, column="label", typed=typed)


def _names(*values: object, typed: bool = False) -> tuple[str, ...]:
    labels = [str(label) for label in _read(*values, typed=typed)]
    return label_names(labels, numbers_in(values, typed=typed), place, column="label")


def test_names_are_sorted() -> None:
    assert _names("b", "a", "b") == ("a", "b")


def test_numbers_are_sorted_by_size() -> None:
    assert _names(*(str(i) for i in range(11, -1, -1))) == tuple(str(i) for i in range(12))
    assert _names(10, 9, -1) == ("-1", "9", "10")


def test_numbers_that_are_not_there_are_no_labels() -> None:
    assert _names(4, 1, 2) == ("1", "2", "4")


@pytest.mark.parametrize("value", ["NA", "null", "x", "1a"])
def test_a_text_among_numbers_is_named_with_file_row_and_column(value: str) -> None:
    with pytest.raises(DataError, match=rf"a.csv row 2: column 'label' holds '{value}', and a.csv row 0 the number 0"):
        _names("0", "1", value)


def test_a_typed_file_may_hold_digits_as_names() -> None:
    assert _names("1", "K", "10", typed=True) == ("1", "10", "K")
    with pytest.raises(DataError, match=r"a.csv row 1: column 'label' holds 'K', and a.csv row 0 the number 1"):
        _names(1, "K", typed=True)


def test_codes_keep_their_zeros() -> None:
    assert _names("0070", "70", "1234", "V10") == ("0070", "1234", "70", "V10")


@pytest.mark.parametrize(("value", "typed"), [(0.5, True), ("0.5", False)])
def test_a_fraction_is_no_label(value: object, typed: bool) -> None:
    with pytest.raises(DataError, match=r"a.csv row 1: column 'label' holds 0.5; labels are whole numbers or names"):
        _names(1, value, typed=typed)


def test_equal_values_are_one_label_however_they_are_written() -> None:
    assert _read(1, 1.0, "1", " 1 ", "1.0") == ["1"] * 5
    assert _read("caf\u00e9", "cafe\u0301", " caf\u00e9") == ["caf\u00e9"] * 3


def test_numbers_are_indices_where_names_are_declared() -> None:
    assert _read(1, 0.0, None, "no", order=("no", "yes"), typed=True) == ["yes", "no", None, "no"]
    assert _read("1", "0.0", "", order=("no", "yes")) == ["yes", "no", None]


def test_declared_names_that_are_numbers_are_names_in_a_text_file() -> None:
    assert _read("3", "1", order=("1", "2", "3")) == ["3", "1"]
    assert _read(2, 0, order=("1", "2", "3"), typed=True) == ["3", "1"]


def test_an_index_beyond_the_declared_names_is_an_error() -> None:
    with pytest.raises(DataError, match=r"a.csv row 1: label 2 is outside 0..1, the labels declared"):
        _read("0", "2", order=("no", "yes"))


def test_a_list_is_no_label() -> None:
    with pytest.raises(DataError, match=r"a.csv row 0: column 'label' holds list, not a single value"):
        _read([1], typed=True)


def test_a_label_unknown_in_training_is_an_error_with_a_hint() -> None:
    with pytest.raises(DataError, match=r"a.csv row 1: column 'label' holds 'sprots'.* did you mean 'sports'"):
        encode(["sports", "sprots"], ["sports", "world"], place, column="label")


def test_a_number_is_never_an_index_of_sorted_names() -> None:
    with pytest.raises(DataError, match=r"a.csv row 0: column 'label' holds '0', .* known: no, yes; name the numbers"):
        encode(["0"], ["no", "yes"], place, column="label")


def test_thousands_of_digits_are_a_text_and_no_number() -> None:
    with pytest.raises(DataError, match=r"a.csv row 0: column 'label' holds '9999.*, and a.csv row 1 the number 1"):
        _names("9" * 5000, "1")
    assert _read("9" * 5000, "1", order=("no", "yes")) == ["9" * 5000, "yes"]
