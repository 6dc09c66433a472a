"""Sketches: linear, the same on every machine, and without bias over the draw of the hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.count_sketch import Hashing, sketched
from fedstrata.domain.ids import TensorName

W = TensorName("w")


def test_every_coordinate_has_one_bucket_and_one_sign() -> None:
    units = np.array([sketched(e, W, Hashing(3, 16)) for e in np.eye(200)])
    assert (np.abs(units).sum(axis=1) == 1).all()
    assert set(np.unique(units)) == {-1.0, 0.0, 1.0}
    assert (np.abs(units).sum(axis=0) > 0).all()
    assert 60 < (units.sum(axis=1) > 0).sum() < 140


@given(st.integers(0, 2**63 - 1), st.floats(-3, 3), st.integers(1, 40))
def test_a_sketch_is_linear(seed: int, factor: float, elements: int) -> None:
    rng = np.random.default_rng(elements)
    x, y = rng.normal(size=(2, elements))
    hashing = Hashing(seed, 32)
    both = sketched(x, W, hashing) + factor * sketched(y, W, hashing)
    np.testing.assert_allclose(sketched(x + factor * y, W, hashing), both, atol=1e-12)


def test_inner_products_are_unbiased_with_the_variance_of_the_formula() -> None:
    """Over 2,000 hashes the mean is within 4 standard errors, and the variance within 15 %."""
    rng = np.random.default_rng(0)
    x, y, k, draws = *rng.normal(size=(2, 50)), 16, 2000
    y = y + 0.5 * x
    found = np.array([sketched(x, W, h) @ sketched(y, W, h) for h in (Hashing(s, k) for s in range(draws))])
    variance = (x @ x * (y @ y) + (x @ y) ** 2 - 2 * np.square(x * y).sum()) / k
    assert found.mean() == pytest.approx(x @ y, abs=4 * np.sqrt(variance / draws))
    assert found.var() == pytest.approx(variance, rel=0.15)


def test_squared_norms_are_off_by_the_square_root_of_two_by_k() -> None:
    x = np.random.default_rng(1).normal(size=5000)
    norms = [np.square(sketched(x, W, Hashing(seed, 128))).sum() / (x @ x) for seed in range(300)]
    assert np.mean(norms) == pytest.approx(1, abs=0.03)
    assert np.std(norms) == pytest.approx(np.sqrt(2 / 128), rel=0.15)


def test_tensors_have_hashes_of_their_own() -> None:
    x = np.arange(1.0, 33.0)
    found = [sketched(x, TensorName(name), Hashing(0, 16)).tolist() for name in ("a", "b", "a")]
    assert found[0] == found[2] != found[1]
    assert sketched(x, W, Hashing(0, 16)).tolist() != sketched(x, W, Hashing(1, 16)).tolist()


def test_the_hash_is_the_same_on_every_machine() -> None:
    """Written down once: raw output of Philox, so neither platform nor numpy's version changes it."""
    found = sketched(np.arange(1.0, 9.0), W, Hashing(7, 16))
    assert [(int(b), float(found[b])) for b in np.flatnonzero(found)] == PINNED


def test_coordinates_do_not_depend_on_how_many_follow() -> None:
    short, long = (sketched(np.eye(n)[2], W, Hashing(5, 64)) for n in (3, 9))
    assert short.tolist() == long.tolist()


@pytest.mark.parametrize(("seed", "dimension"), [(-1, 128), (2**63, 128), (True, 128), (0, 100), (0, 8), (0, 8192)])
def test_what_is_no_sketch_is_refused(seed: int, dimension: int) -> None:
    with pytest.raises(ValueError, match="sketch"):
        Hashing(seed, dimension)


PINNED = [(0, 2.0), (4, -8.0), (9, -4.0), (11, 3.0), (13, -2.0), (15, 7.0)]
