from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.solvers import Solution, solve
from fedstrata.solvers import client_masks as module
from solvers.priced_cases import Case, case, optimum, payable


def solved(it: Case) -> Solution:
    weights = {"consensus": it.consensus, "diversity": it.diversity}
    return solve(it.scores, it.budgets, costs=it.costs, setups=it.setups, **weights)


def affordable(it: Case, solution: Solution) -> bool:
    masks = solution.masks.astype(np.float64)
    return all(payable(it.budgets, it.costs, it.setups, client, mask) for client, mask in enumerate(masks))


def check(it: Case, solution: Solution, best: float, *, where: object) -> None:
    """The optimum is found, proven, and affordable by the definition; the objective is the masks' own."""
    assert affordable(it, solution), where
    n, loads = len(it.scores), solution.masks.sum(axis=0)
    penalty = (it.consensus * loads * (n - loads) + it.diversity * loads**2).sum()
    assert solution.objective == pytest.approx(it.scores[solution.masks].sum() - penalty), where
    assert solution.objective == pytest.approx(best, abs=1e-9), where
    assert solution.bound >= max(best - 1e-14 * abs(best), solution.objective), where
    assert solution.gap <= 1e-6, where


@pytest.mark.parametrize("block", range(2))
def test_small_instances_are_proven_and_equal_to_brute_force(block: int) -> None:
    """Two hundred of them; ``make soak`` plays ten blocks."""
    for seed in range(100 * block, 100 * block + 100):
        it = case(seed)
        check(it, solved(it), optimum(it), where=seed)


@pytest.mark.parametrize("block", range(1))
def test_the_search_without_tables_is_exact_too(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_LAYERS", 0)
    for seed in range(10_000 + 25 * block, 10_025 + 25 * block):
        it = case(seed)
        check(it, solved(it), optimum(it), where=seed)


def test_layers_without_number_are_as_good_as_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    tabulated = solved(case(3, clients=6, layers=8))
    monkeypatch.setattr(module, "TABLE_LAYERS", 0)
    assert solved(case(3, clients=6, layers=8)).objective == pytest.approx(tabulated.objective)


def test_a_lower_layer_costs_its_set_up() -> None:
    # [0] costs 3 + 1, [1] costs 0 + 1, both 3 + 2; at 4 the first layer alone is worth more, at 5 both are affordable
    budgets = [0.9, 3.9, 4.0, 5.0]
    masks = solve([[5.0, 2.0]] * 4, budgets, setups=[3.0, 0.0]).masks
    assert masks.astype(int).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_worthless_layer_is_taken_for_its_cheaper_set_up() -> None:
    solution = solve([[-1.0, 5.0]], [2.0], costs=[1.0, 1.0], setups=[0.0, 2.0])
    assert solution.masks.astype(int).tolist() == [[1, 1]]
    assert solution.objective == 4.0


def test_every_unit_counts() -> None:
    costs = np.array([[[2.0, 1.0, 1.0]], [[1.0, 1.0, 3.0]]])
    solution = solve([[4.0, 3.0, 5.0]], [[3.0], [3.0]], costs=costs)
    assert solution.masks.astype(int).tolist() == [[1, 1, 0]]
    assert (solution.objective, solution.rule) == (7.0, "knapsack")


def test_equal_set_ups_and_prices_count_layers() -> None:
    solution = solve(np.ones((2, 3)), [5.0, 9.0], costs=[2.0] * 3, setups=[1.0] * 3, consensus=0.01)
    assert solution.masks.sum(axis=1).tolist() == [2, 3]
    assert solve([[1.0, 2.0, 3.0]], [5.0], costs=[2.0] * 3, setups=[1.0] * 3).rule == "separable"


def test_a_unit_that_cannot_bind_changes_nothing() -> None:
    it = case(11)
    wide = np.concatenate([it.budgets, np.full((1, 3), 1e6)])
    more = replace(
        it,
        budgets=wide,
        costs=np.concatenate([it.costs, np.ones((1, 3, 4))]),
        setups=np.concatenate([it.setups, np.ones((1, 3, 4))]),
    )
    np.testing.assert_array_equal(solved(more).masks, solved(it).masks)


def test_infinite_consensus_goes_down_one_ranking_past_what_is_too_dear() -> None:
    scores = [[9.0, 1.0, 5.0], [9.0, 1.0, 5.0]]
    solution = solve(scores, [6.0, 2.5], setups=[3.0, 0.5, 0.0], consensus=inf)
    assert solution.masks.astype(int).tolist() == [[1, 1, 1], [0, 1, 1]]
    assert (solution.rule, solution.bound, solution.gap) == ("common-prefix", inf, inf)


@given(seed=st.integers(0, 10**6), clients=st.integers(1, 6), layers=st.integers(1, 7))
def test_masks_are_affordable_in_every_unit(seed: int, clients: int, layers: int) -> None:
    it = case(seed, clients=clients, layers=layers)
    solution = solved(it)
    assert affordable(it, solution)
    assert solution.bound >= solution.objective
    limit = solve(it.scores, it.budgets, costs=it.costs, setups=it.setups, consensus=inf)
    assert affordable(it, limit)


@given(seed=st.integers(0, 10**6), more=st.floats(1.0, 3.0))
def test_more_budget_never_lowers_the_optimum(seed: int, more: float) -> None:
    it = case(seed)
    assert solved(replace(it, budgets=it.budgets * more)).bound >= solved(it).objective - 1e-9


@given(seed=st.integers(0, 10**6))
def test_the_order_of_clients_does_not_matter(seed: int) -> None:
    it = case(seed)
    order = np.random.default_rng(seed).permutation(3)
    turned = Case(
        it.scores[order],
        it.budgets[:, order],
        it.costs[:, order],
        it.setups[:, order],
        it.consensus,
        it.diversity,
    )
    straight, other = solved(it), solved(turned)
    assert other.objective == pytest.approx(straight.objective)
    np.testing.assert_array_equal(other.masks, straight.masks[order])


@given(seed=st.integers(0, 10**6), power=st.integers(-40, 40))
def test_scaling_costs_and_budgets_together_changes_nothing(seed: int, power: int) -> None:
    it, scale = case(seed), 2.0**power
    scaled = replace(it, budgets=it.budgets * scale, costs=it.costs * scale, setups=it.setups * scale)
    np.testing.assert_array_equal(solved(scaled).masks, solved(it).masks)


@pytest.mark.parametrize("power", [-900, -40, 40, 900])
def test_scaling_scores_and_weights_together_scales_the_certificate(power: int) -> None:
    it, scale = case(14, clients=5, layers=6), 2.0**power
    large = replace(it, scores=it.scores * scale, consensus=it.consensus * scale, diversity=it.diversity * scale)
    straight, scaled = solved(it), solved(large)
    np.testing.assert_array_equal(scaled.masks, straight.masks)
    assert (scaled.bound, scaled.gap) == (straight.bound * scale, straight.gap)


def test_the_same_input_gives_the_same_answer() -> None:
    it = case(5, clients=8, layers=7)
    first, second = solved(it), solved(it)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert (first.bound, first.rule) == (second.bound, second.rule)


def test_a_middling_problem_is_certified() -> None:
    rng = np.random.default_rng(0)
    costs, setups = rng.uniform(0.5, 2, size=(2, 12, 16)), np.linspace(6, 0, 16)
    budgets = rng.uniform(4, 12, size=(2, 12))
    scores = rng.exponential(size=(12, 16))
    solution = solve(scores, budgets, costs=costs, setups=setups, consensus=0.3 * float(np.median(scores)) / 12)
    assert solution.gap <= 1e-3


def test_input_is_not_changed() -> None:
    it = case(7)
    before = [table.copy() for table in (it.scores, it.budgets, it.costs, it.setups)]
    solved(it)
    for table, copy in zip((it.scores, it.budgets, it.costs, it.setups), before, strict=True):
        np.testing.assert_array_equal(table, copy)
