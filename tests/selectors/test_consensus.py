from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import ClientProfile, SelectionProblem, check
from fedstrata.errors import ConfigError, SelectionError
from fedstrata.selectors.common import Common
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.independent import Independent

Make = Callable[..., SelectionProblem]
SCORES = np.random.default_rng(0).exponential(size=(6, 5))


def test_rho_zero_is_everybody_s_own_choice(make_problem: Make) -> None:
    problem = make_problem([1, 2, 3, 1, 2, 0], scores=SCORES)
    assert Consensus(rho=0.0).select(problem, {})[0].masks == Independent().select(problem, {})[0].masks


def test_infinite_rho_is_the_common_ranking_for_equal_budgets(make_problem: Make) -> None:
    problem = make_problem([2] * 6, scores=SCORES)
    assert Consensus(rho=inf).select(problem, {})[0].masks == Common().select(problem, {})[0].masks


def test_more_rho_means_less_disagreement_and_negative_rho_a_flatter_load(make_problem: Make) -> None:
    problem = make_problem([2] * 6, scores=SCORES)
    squares = [
        int((Consensus(rho=rho).select(problem, {})[0].load(5) ** 2).sum()) for rho in (-10.0, 0.0, 1.0, 3.0, 30.0)
    ]
    assert squares == sorted(squares)
    assert squares[0] < squares[1] < squares[-1]


def test_scale_of_the_scores_does_not_matter(make_problem: Make) -> None:
    small = Consensus(rho=2.0).select(make_problem([2] * 6, scores=SCORES), {})[0]
    large = Consensus(rho=2.0).select(make_problem([2] * 6, scores=1024 * SCORES), {})[0]
    assert small.masks == large.masks


def test_certificate_is_the_objective_with_the_median_weight(make_problem: Make) -> None:
    problem = make_problem([2] * 6, scores=SCORES)
    selection, _ = Consensus(rho=2.0).select(problem, {})
    weight, loads = 2.0 * np.median(SCORES) / 6, selection.load(5)
    value = sum(SCORES[i, sorted(selection.masks[c])].sum() for i, c in enumerate(problem.clients))
    assert selection.certificate is not None
    assert selection.certificate.objective == pytest.approx(value - weight * (loads * (6 - loads)).sum())
    assert selection.certificate.gap <= 1e-6


def test_n_is_the_number_of_clients_of_the_problem(make_problem: Make) -> None:
    pair = make_problem([1, 1], scores=[[2.0, 1.0], [1.0, 1.9]])
    # w = median / n = 1.45 / 2; agreeing on layer 0 costs 0.9 in score and saves a penalty of 2 w = 1.45
    selection, _ = Consensus(rho=1.0).select(pair, {})
    assert selection.load(2).tolist() == [2, 0]
    alone, _ = Consensus(rho=1.0).select(make_problem([1], scores=[[1.0, 1.9]]), {})
    assert alone.masks == {"c0": frozenset({1})}


def test_scores_that_are_all_zero_select_nothing(make_problem: Make) -> None:
    assert Consensus().select(make_problem([2], scores=[[0.0, 0.0]]), {})[0].masks == {"c0": frozenset()}


def test_tied_layers_are_left_out_and_the_others_keep_their_index(make_problem: Make) -> None:
    problem = make_problem([1, 1], scores=[[9.0, 1.0, 2.0]] * 2, tied=[0])
    assert set(Consensus().select(problem, {})[0].masks.values()) == {frozenset({2})}


def test_a_model_of_tied_layers_alone_selects_nothing(make_problem: Make) -> None:
    assert Consensus().select(make_problem([1], scores=[[9.0]], tied=[0]), {})[0].masks == {"c0": frozenset()}


def test_prices_of_layers_are_used(make_problem: Make) -> None:
    problem = make_problem([3.0], scores=[[2.0, 2.0, 3.5]], each=[1, 2, 3])
    selection, _ = Consensus().select(problem, {})
    assert selection.masks == {"c0": frozenset({0, 1})}
    assert selection.certificate is not None
    assert selection.certificate.gap < 1e-6


def test_what_a_lowest_layer_costs_is_part_of_the_price_and_certified(make_problem: Make) -> None:
    problem = make_problem([3.0, 4.0], scores=[[5.0, 2.0, 1.0]] * 2, setup=[3, 1, 0])
    selection, _ = Consensus(rho=0.0).select(problem, {})
    check(selection, problem)
    assert selection.masks == {"c0": frozenset({1, 2}), "c1": frozenset({0})}
    assert selection.certificate is not None
    assert selection.certificate.gap < 1e-6


def test_budgets_in_two_units_hold_at_once(make_problem: Make) -> None:
    problem = make_problem([inf], scores=[[5.0, 3.0, 2.0]])
    both = Prices(("flops", "bytes_up"), np.zeros(2), np.zeros((2, 3)), np.array([[1.0, 1, 1], [9, 2, 2]]))
    budget = Cost.limits(flops=2, bytes_up=8)
    problem = replace(problem, prices=lambda _: both, profiles={ClientId("c0"): ClientProfile(10, budget)})
    assert Consensus().select(problem, {})[0].masks == {"c0": frozenset({1, 2})}


def test_without_scores_the_error_says_so(make_problem: Make) -> None:
    with pytest.raises(SelectionError, match="consensus"):
        Consensus().select(make_problem([1]), {})


@pytest.mark.parametrize(("rho", "limit"), [(-inf, None), (float("nan"), None), (1.0, 0.0)])
def test_bad_settings_are_refused(rho: float, limit: float | None) -> None:
    with pytest.raises(ConfigError, match="consensus"):
        Consensus(rho=rho, time_limit=limit)
