from __future__ import annotations

import numpy as np
import pytest

from fedstrata.solvers import priced_exact as module
from fedstrata.solvers.client_masks import priced
from fedstrata.solvers.decomposition import evaluate
from fedstrata.solvers.objective import Objective
from fedstrata.solvers.priced_exact import prove
from fedstrata.solvers.tariff import tariff
from solvers.priced_cases import case, optimum


@pytest.mark.parametrize("seed", range(40))
def test_whole_masks_prove_the_optimum_from_any_dual_point(seed: int) -> None:
    it = case(seed)
    problem = priced(
        Objective(it.scores, it.consensus, it.diversity),
        tariff(it.budgets, (3, 4), costs=it.costs, setups=it.setups),
    )
    best = optimum(it)
    masks, bound = prove(problem, evaluate(problem, np.zeros((3, 4))), 0.0)
    assert bound >= best
    assert masks is not None
    assert problem.objective.value(masks) == pytest.approx(best, abs=1e-6)
    assert bound == pytest.approx(best, abs=1e-5)
    assert all(problem.tariff.fits(mask, client) for client, mask in enumerate(masks))


def test_too_many_masks_leave_the_bound_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COLUMNS", 1)
    it = case(2)
    problem = priced(
        Objective(it.scores, it.consensus, it.diversity),
        tariff(it.budgets, (3, 4), costs=it.costs, setups=it.setups),
    )
    point = evaluate(problem, np.zeros((3, 4)))
    assert prove(problem, point, 0.0) == (None, point.bound)
