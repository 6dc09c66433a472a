from __future__ import annotations

import pytest

from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.errors import SelectionError
from fedstrata.scores.gradient_norm import GradientNorm


def test_squared_norms_of_tensors_add_up() -> None:
    stats = LayerStats((TensorStats(1, 1.0, 9.0), TensorStats(1, 1.0, 16.0)), num_examples=4)
    assert GradientNorm()(stats) == 25.0


def test_unbiased_is_the_sum_of_half_batch_products_and_may_be_negative() -> None:
    stats = LayerStats(
        (TensorStats(1, 1.0, 9.0, half_dot=-3.0), TensorStats(1, 1.0, 1.0, half_dot=1.0)), num_examples=4
    )
    assert GradientNorm(unbiased=True)(stats) == -2.0


def test_each_form_asks_for_its_statistic_only() -> None:
    assert GradientNorm().needs == {Statistic.NORM}
    assert GradientNorm(unbiased=True).needs == {Statistic.HALVES}


def test_missing_halves_are_named() -> None:
    with pytest.raises(SelectionError, match="halves"):
        GradientNorm(unbiased=True)(LayerStats((TensorStats(1, 1.0, 9.0),), num_examples=4))
