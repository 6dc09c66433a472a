"""What every score owes its callers."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every_kind import every
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.scores.protocol import Score

SCORES: list[Score] = every(
    "score", {"kind": "gradient-norm", "unbiased": True}, {"kind": "signal-to-noise", "unbiased": True}
)

nonnegative = st.floats(0, 1e30)
tensors = st.builds(
    TensorStats,
    elements=st.integers(1, 10**6),
    weight_sq=nonnegative,
    grad_sq=nonnegative,
    half_dot=st.floats(-1e30, 1e30),
    snr_sum=nonnegative,
    noise_sum=nonnegative,
)
layers = st.builds(LayerStats, st.lists(tensors, min_size=1, max_size=4).map(tuple), st.integers(1, 1000))


@pytest.mark.parametrize("score", SCORES, ids=repr)
@given(stats=layers)
def test_scores_are_finite_floats(score: Score, stats: LayerStats) -> None:
    value = score(stats)
    assert isinstance(value, float)
    assert isfinite(value)


@pytest.mark.parametrize("score", SCORES, ids=repr)
@given(stats=layers)
def test_order_of_the_tensors_does_not_matter(score: Score, stats: LayerStats) -> None:
    turned = LayerStats(stats.tensors[::-1], stats.num_examples)
    scale = sum(t.grad_sq + abs(t.half_dot or 0) + (t.snr_sum or 0) + (t.noise_sum or 0) for t in stats.tensors)
    assert score(turned) == pytest.approx(score(stats), rel=1e-9, abs=1e-12 * scale)


@pytest.mark.parametrize("score", SCORES, ids=repr)
@given(stats=layers)
def test_only_the_needed_statistics_are_read(score: Score, stats: LayerStats) -> None:
    trimmed = tuple(
        TensorStats(
            t.elements,
            t.weight_sq,
            t.grad_sq,
            t.half_dot if Statistic.HALVES in score.needs else None,
            t.snr_sum if Statistic.SAMPLES in score.needs else None,
            t.noise_sum if Statistic.SAMPLES in score.needs else None,
        )
        for t in stats.tensors
    )
    assert score(LayerStats(trimmed, stats.num_examples)) == score(stats)


@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_a_layer_that_does_not_move_scores_zero(score: Score) -> None:
    still = LayerStats((TensorStats(3, 1.0, 0.0, 0.0, 0.0, 0.0),), num_examples=8)
    assert score(still) == 0.0


@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_more_signal_scores_more(score: Score) -> None:
    weak = LayerStats((TensorStats(3, 1.0, 1.0, 1.0, 1.0, 0.5),), num_examples=8)
    strong = LayerStats((TensorStats(3, 1.0, 4.0, 4.0, 4.0, 0.5),), num_examples=8)
    assert score(strong) > score(weak)
