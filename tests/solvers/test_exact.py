from __future__ import annotations

import numpy as np
import pytest

from fedstrata.solvers.best_response import ascend, polish, starts
from fedstrata.solvers.exact import prove
from fedstrata.solvers.objective import Instance
from solvers.instances import instance


def example() -> Instance:
    rng = np.random.default_rng(5)
    return instance(rng.exponential(size=(20, 12)), rng.integers(1, 5, size=20), consensus=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_count_formulation_proves_the_ascent_at_20_by_12(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = instance(rng.exponential(size=(20, 12)), rng.integers(1, 5, size=20), consensus=0.1)
    value = problem.value(polish(problem, ascend(problem, starts(problem))[0]))
    _, bound = prove(problem, np.full(20, 1.0), value)
    assert value <= bound <= value * (1 + 1e-5)


def test_it_finds_better_masks_than_a_poor_incumbent() -> None:
    problem = example()
    masks, bound = prove(problem, np.full(20, 1.0), 0.0)
    assert masks is not None
    assert problem.value(masks) > 0.9 * bound
    assert (masks.sum(axis=1) <= problem.budgets).all()


def test_out_of_time_gives_a_bound_that_proves_nothing_false() -> None:
    problem = example()
    known = problem.value(ascend(problem, starts(problem))[0])
    _, bound = prove(problem, np.zeros(20), known, time_limit=0.001)
    assert bound >= known
