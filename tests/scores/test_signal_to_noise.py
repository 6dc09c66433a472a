from __future__ import annotations

from math import inf, isfinite

import numpy as np
import pytest
from numpy.typing import NDArray

from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.errors import SelectionError
from fedstrata.scores.signal_to_noise import SignalToNoise


def measured(gradients: NDArray[np.float64]) -> LayerStats:
    """Return the statistics of per-row gradients, shape ``[rows, elements]``, with variance over rows."""
    mean, variance = gradients.mean(axis=0), gradients.var(axis=0)
    snr, noise = float((mean**2 / variance).sum()), float(np.count_nonzero(variance))
    return LayerStats((TensorStats(mean.size, 1.0, float(mean @ mean), None, snr, noise),), len(gradients))


def test_signal_and_noise_are_over_samples_not_over_weights() -> None:
    agreeing = measured(np.array([[1.0, -9.0], [3.0, -11.0]]))
    assert SignalToNoise()(agreeing) == (2.0**2 / 1.0 + 10.0**2 / 1.0) / 2


def test_score_is_free_of_the_loss_scale() -> None:
    gradients = np.random.default_rng(0).normal(1.0, 1.0, size=(16, 5))
    assert SignalToNoise()(measured(1000 * gradients)) == pytest.approx(SignalToNoise()(measured(gradients)))


def test_one_element_tensors_are_finite() -> None:
    assert isfinite(SignalToNoise()(measured(np.array([[1.0], [2.0], [4.0]]))))


def test_every_score_asks_for_the_statistic_that_it_reads() -> None:
    assert SignalToNoise().needs == SignalToNoise(unbiased=True).needs == {Statistic.SAMPLES}


def test_unbiased_form_is_near_zero_on_pure_noise() -> None:
    rng = np.random.default_rng(0)
    scores = [SignalToNoise(unbiased=True)(measured(rng.normal(size=(32, 200)))) for _ in range(50)]
    biased = [SignalToNoise()(measured(rng.normal(size=(32, 200)))) for _ in range(50)]
    assert np.mean(biased) > 0.03
    assert abs(np.mean(scores)) < 0.004


def test_one_row_is_finite() -> None:
    stats = LayerStats((TensorStats(2, 1.0, 1.0, snr_sum=4.0, noise_sum=0.0),), num_examples=1)
    assert SignalToNoise(unbiased=True)(stats) == 2.0


def test_infinite_ratio_is_clipped_to_a_finite_number() -> None:
    stats = LayerStats((TensorStats(2, 1.0, 1.0, snr_sum=inf, noise_sum=0.0),), num_examples=4)
    assert isfinite(SignalToNoise()(stats))


def test_missing_moments_are_named() -> None:
    with pytest.raises(SelectionError, match="samples"):
        SignalToNoise()(LayerStats((TensorStats(1, 1.0, 9.0),), num_examples=4))
