"""Other batch shapes from measured ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedstrata.costs.scaling import at, weights
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ConfigError
from price_lists import profile


def quadratic(length: int) -> StepProfile:
    return replace(profile(length=length), forward=np.full(6, 4 * (3 * length + length**2)))


def test_rows_scale_in_proportion() -> None:
    assert weights([profile()], [(4, None), (2, None)]).tolist() == [1.5]
    assert at([profile()], (8, None)).forward.tolist() == (2 * profile().forward).tolist()


@pytest.mark.parametrize("length", [8, 11, 16, 40, 64])
def test_three_lengths_give_all_lengths_exactly(length: int) -> None:
    found = at([quadratic(8), quadratic(24), quadratic(64)], (10, length))
    assert found.forward.tolist() == [10 * (3 * length + length**2)] * 6
    assert (found.rows, found.length) == (10, length)


def test_images_and_texts_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="another kind of input"):
        weights([profile()], [(4, 12)])
