from __future__ import annotations

import numpy as np
import pytest

from fedstrata.solvers import client_masks as module
from fedstrata.solvers.client_masks import Priced, exact, priced
from fedstrata.solvers.decomposition import evaluate, first_multipliers, lower, lower_by_cuts
from fedstrata.solvers.objective import Objective
from fedstrata.solvers.tariff import tariff
from solvers.priced_cases import Case, case, optimum


def problem_of(it: Case) -> Priced:
    prices = tariff(it.budgets, (it.scores.shape[0], it.scores.shape[1]), costs=it.costs, setups=it.setups)
    return priced(Objective(it.scores, it.consensus, it.diversity), prices)


def test_dual_at_hand_checked_multipliers() -> None:
    # client: lambda leaves 2 and 0, the budget pays one; layers: max(0, 1) + max(0, 1)
    problem = priced(Objective(np.array([[3.0, 1.0]]), 0.0, 0.0), tariff([1.5], (1, 2), setups=[0.5, 0.0]))
    assert evaluate(problem, np.ones((1, 2))).bound == pytest.approx(2 + 1 + 1)


@pytest.mark.parametrize("block", range(1))
def test_the_bound_is_never_below_the_optimum_on_tiny_instances(block: int) -> None:
    """Five hundred of them; ``make soak`` plays ten blocks."""
    for seed in range(20_000 + 500 * block, 20_500 + 500 * block):
        it = case(seed, clients=2, layers=3)
        problem, best = problem_of(it), optimum(it)
        tables = [np.random.default_rng(seed).normal(0.5, 1.0, size=(2, 3))]
        if seed % 5 == 0:  # ten times the work of the bound itself
            tables.append(first_multipliers(problem, exact(problem, problem.everyone, it.scores).masks))
        for table in tables:
            assert evaluate(problem, table).bound >= best, (seed, table)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tabled", [True, False])
def test_descents_stay_above_the_optimum_and_below_their_start(
    seed: int, tabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TABLE_LAYERS", 12 if tabled else 0)
    it = case(seed)
    problem, best = problem_of(it), optimum(it)
    start = evaluate(problem, np.zeros((3, 4)))
    masks = exact(problem, problem.everyone, it.scores).masks
    for point in (
        lower(problem, start, best, steps=20, stop=1e-9),
        lower_by_cuts(problem, start, best, masks[None], steps=5, stop=1e-9, precise=False),
        lower_by_cuts(problem, start, best, masks[None], steps=5, stop=1e-9),
    ):
        assert best <= point.bound <= start.bound


def test_without_a_penalty_the_multipliers_zero_close_the_gap() -> None:
    it = case(8)
    problem = priced(Objective(it.scores, 0.0, 0.0), tariff(it.budgets, (3, 4), costs=it.costs, setups=it.setups))
    values = exact(problem, problem.everyone, it.scores).values
    assert evaluate(problem, np.zeros((3, 4))).bound == pytest.approx(values.sum())


def test_it_is_tighter_than_pricing_the_budgets_alone() -> None:
    # one client, three layers at 2 each, a budget of 3: a fractional mask is worth 1.5, a whole one 1
    scores = np.ones((1, 3))
    problem = priced(Objective(scores, 0.0, 0.0), tariff([3.0], (1, 3), costs=[2.0, 2.0, 2.0], setups=[0.2, 0.1, 0.0]))
    assert evaluate(problem, np.zeros((1, 3))).bound == pytest.approx(1.0)
