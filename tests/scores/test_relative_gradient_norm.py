from __future__ import annotations

from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.scores.relative_gradient_norm import RelativeGradientNorm


def test_norms_are_over_the_layer_not_averaged_over_tensors() -> None:
    stats = LayerStats((TensorStats(2, 0.0, 9.0), TensorStats(2, 100.0, 16.0)), num_examples=4)
    assert RelativeGradientNorm()(stats) == 0.5


def test_scaling_gradient_and_weights_alike_changes_nothing() -> None:
    small = LayerStats((TensorStats(2, 4.0, 9.0),), num_examples=4)
    large = LayerStats((TensorStats(2, 400.0, 900.0),), num_examples=4)
    assert RelativeGradientNorm()(small) == RelativeGradientNorm()(large) == 1.5


def test_zero_weights_with_a_gradient_are_large_and_finite() -> None:
    assert abs(RelativeGradientNorm()(LayerStats((TensorStats(4, 0.0, 4.0),), num_examples=4)) / 1e12 - 1) < 1e-9


def test_zero_weights_without_a_gradient_are_zero() -> None:
    assert RelativeGradientNorm()(LayerStats((TensorStats(4, 0.0, 0.0),), num_examples=4)) == 0.0
