from __future__ import annotations

import numpy as np
import pytest

from fedstrata.solvers.best_response import polish
from fedstrata.solvers.bound import evaluate
from fedstrata.solvers.diverse import flow
from solvers.instances import instance


@pytest.mark.parametrize("seed", range(20))
def test_one_linear_program_is_integral_and_its_own_dual_proves_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = instance(
        rng.normal(1, 1, size=(12, 7)), rng.integers(0, 4, size=12), diversity=float(rng.uniform(0, 0.3))
    )
    masks, prices = flow(problem)
    assert masks is not None
    value = problem.value(masks)
    assert value <= evaluate(problem, prices).bound <= value + 1e-6
    assert problem.value(polish(problem, masks)) == pytest.approx(value)


def test_load_is_spread_by_hand_checked_prices() -> None:
    # the third client would add 3.0 - 0.5 * 5 = 0.5 on layer 0, but 1.2 - 0.5 * 1 = 0.7 on layer 1
    masks, _ = flow(instance([[3.0, 1.2]] * 3, [1] * 3, diversity=0.5))
    assert masks is not None
    assert masks.sum(axis=0).tolist() == [2, 1]
