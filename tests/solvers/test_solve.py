from __future__ import annotations

from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedstrata.errors import BudgetError, ConfigError
from fedstrata.solvers import Solution, solve

Floats = NDArray[np.float64]

SUBSETS = np.array(list(product([0, 1], repeat=5)), dtype=np.float64)
TRIPLES = np.meshgrid(*[np.arange(32)] * 3, indexing="ij")
LOADS: Floats = SUBSETS[TRIPLES[0]] + SUBSETS[TRIPLES[1]] + SUBSETS[TRIPLES[2]]


def brute_force(scores: Floats, budgets: Floats, costs: Floats, consensus: float, diversity: float) -> float:
    """Return the optimum of a 3x5 instance by looking at all 32^3 answers."""
    gains = np.where(costs @ SUBSETS.T <= budgets[:, None], scores @ SUBSETS.T, -inf)
    penalty = (consensus * LOADS * (3 - LOADS) + diversity * LOADS**2).sum(axis=-1)
    total = sum(gains[client][index] for client, index in enumerate(TRIPLES)) - penalty
    return float(total.max())


def random_instance(seed: int) -> tuple[Floats, Floats, Floats | None, float, float]:
    """Return scores, budgets, costs, consensus, diversity: every third has negative scores, every other unit costs."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(3, 5)) if seed % 3 == 0 else rng.exponential(size=(3, 5))
    weight = (0.0, 0.05, 0.2, 0.5, 1.0, 3.0)[rng.integers(6)]
    consensus, diversity = (weight, 0.0) if rng.integers(2) else (0.0, weight)
    if seed % 2 == 0:
        return scores, rng.integers(0, 6, size=3).astype(np.float64), None, consensus, diversity
    return scores, rng.uniform(0, 5, size=3), rng.uniform(0.5, 2, size=(3, 5)), consensus, diversity


def spent(solution: Solution, costs: Floats | None) -> Floats:
    return np.asarray(((1.0 if costs is None else costs) * solution.masks).sum(axis=1))


@pytest.mark.parametrize("block", range(2))
def test_no_budget_violation_and_optimal_on_instances_of_every_kind(block: int) -> None:
    """Two hundred of them; ``make soak`` plays ten blocks."""
    for seed in range(100 * block, 100 * block + 100):
        scores, budgets, costs, consensus, diversity = random_instance(seed)
        solution = solve(scores, budgets, consensus=consensus, diversity=diversity, costs=costs)
        best = brute_force(scores, budgets, np.ones((3, 5)) if costs is None else costs, consensus, diversity)
        where = (seed, solution)
        assert solution.objective == pytest.approx(best, abs=1e-9), where
        assert solution.bound >= best - 1e-15 * abs(best), where
        assert solution.bound >= solution.objective, where
        assert solution.gap <= 1e-5, where
        assert (spent(solution, costs) <= budgets).all(), where


@given(
    seed=st.integers(0, 10**6),
    clients=st.integers(1, 7),
    layers=st.integers(1, 7),
    weight=st.floats(0, 5),
    kind=st.sampled_from(["consensus", "diversity", "inf"]),
    decimals=st.sampled_from([None, 1, 6]),
)
def test_no_budget_is_exceeded_and_no_bound_is_below_its_objective(
    seed: int, clients: int, layers: int, weight: float, kind: str, decimals: int | None
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(1.0, 1.0, size=(clients, layers)).round(1)
    costs = None if decimals is None else rng.uniform(0.1, 1.0, size=(clients, layers)).round(decimals)
    budgets = rng.choice([0.0, 0.3, 0.6, 1.0, 2.5, inf], size=clients)
    consensus = {"consensus": weight, "diversity": 0.0, "inf": inf}[kind]
    diversity = weight if kind == "diversity" else 0.0
    solution = solve(scores, budgets, consensus=consensus, diversity=diversity, costs=costs)
    assert (spent(solution, costs) <= budgets).all()
    assert solution.bound >= solution.objective
    assert solution.gap >= 0
    if kind != "inf":
        loads = solution.masks.sum(axis=0)
        value = (
            scores[solution.masks].sum() - consensus * (loads * (clients - loads)).sum() - diversity * (loads**2).sum()
        )
        assert solution.objective == pytest.approx(value)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), weight=st.floats(0, 2), diverse=st.booleans())
def test_permuting_the_clients_permutes_the_masks(seed: int, weight: float, diverse: bool) -> None:
    rng = np.random.default_rng(seed)
    scores, budgets = rng.exponential(size=(6, 5)), rng.integers(0, 4, size=6)
    order = rng.permutation(6)
    weights = {"diversity": weight} if diverse else {"consensus": weight}
    straight = solve(scores, budgets, **weights)
    turned = solve(scores[order], budgets[order], **weights)
    assert turned.objective == pytest.approx(straight.objective)
    np.testing.assert_array_equal(turned.masks, straight.masks[order])


def test_same_input_same_answer_and_n_is_the_number_of_rows() -> None:
    scores = np.random.default_rng(3).exponential(size=(4, 6))
    first, second = (solve(scores, [2, 2, 1, 3], consensus=0.2) for _ in range(2))
    np.testing.assert_array_equal(first.masks, second.masks)
    assert (first.objective, first.bound, first.rule) == (second.objective, second.bound, second.rule)
    loads = first.masks.sum(axis=0)
    assert first.objective == pytest.approx(scores[first.masks].sum() - 0.2 * (loads * (4 - loads)).sum())


@pytest.mark.parametrize("layers", [12, 24])
@pytest.mark.parametrize("multiple", [0.3, 1.0, 3.0, 10.0])
def test_twenty_clients_are_solved_to_a_proven_optimum(layers: int, multiple: float) -> None:
    rng = np.random.default_rng(layers)
    scores = np.exp(rng.normal(size=(4, layers)))[rng.integers(0, 4, size=20)] * rng.exponential(size=(20, layers))
    solution = solve(scores, rng.integers(1, 5, size=20), consensus=multiple * float(np.median(scores)) / 20)
    assert solution.gap <= 1e-6


def test_without_a_penalty_every_client_takes_its_best_positive_layers() -> None:
    solution = solve([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, -3.0, 0.5]], [2, 2])
    assert solution.masks.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]
    assert solution.objective == 5.5
    assert solution.rule == "separable"


def test_ties_go_to_the_lower_layer() -> None:
    assert solve(np.ones((3, 4)), [2, 2, 2], consensus=0.1).masks.astype(int).tolist() == [[1, 1, 0, 0]] * 3


def test_knapsack_beats_the_densest_first() -> None:
    solution = solve([[6.0, 5.0, 5.0]], [6.0], costs=[3.5, 3.0, 3.0])
    assert solution.masks.astype(int).tolist() == [[0, 1, 1]]
    assert solution.rule == "knapsack"


def test_equal_prices_within_a_client_are_layer_counts() -> None:
    solution = solve([[1.0, 2.0, 3.0]], [0.6], costs=[0.2, 0.2, 0.2])
    assert spent(solution, np.array([0.2, 0.2, 0.2]))[0] <= 0.6
    assert solution.masks[0, 2]
    assert solution.rule == "separable"


def test_infinite_budget_takes_everything_positive() -> None:
    assert solve([[1.0, 2.0], [1.0, -1.0]], [inf, inf]).masks.astype(int).tolist() == [[1, 1], [1, 0]]


def test_zero_budget_takes_nothing() -> None:
    assert not solve(np.ones((2, 3)), [0, 0], consensus=1.0).masks.any()


def test_no_clients_is_an_empty_answer() -> None:
    solution = solve(np.zeros((0, 4)), [])
    assert solution.masks.shape == (0, 4)
    assert (solution.objective, solution.bound, solution.gap, solution.rule) == (0.0, 0.0, 0.0, "empty")


def test_no_layers_is_an_empty_answer() -> None:
    assert solve(np.zeros((2, 0)), [1, 1], consensus=1.0).masks.shape == (2, 0)


def test_one_client_ignores_consensus() -> None:
    assert solve([[1.0, 2.0, 3.0]], [2], consensus=100.0).masks.astype(int).tolist() == [[0, 1, 1]]


def test_strong_consensus_makes_everybody_agree() -> None:
    scores = np.random.default_rng(0).exponential(size=(5, 6))
    masks = solve(scores, [2] * 5, consensus=100.0).masks
    assert (masks == masks[0]).all()
    assert set(np.flatnonzero(masks[0])) == set(np.argsort(-scores.sum(axis=0))[:2])


def test_strong_diversity_spreads_the_clients() -> None:
    loads = solve(10 + np.random.default_rng(0).exponential(size=(6, 6)), [1] * 6, diversity=2.0).masks.sum(axis=0)
    assert loads.tolist() == [1] * 6


def test_large_diverse_problem_carries_a_valid_bound() -> None:
    scores = np.random.default_rng(0).exponential(size=(900, 50))
    solution = solve(scores, np.full(900, 2), diversity=float(np.median(scores)) / 900)
    assert solution.rule == "best-response"
    assert solution.gap <= 1e-3


def test_time_limit_of_nothing_still_gives_masks_and_a_bound() -> None:
    rng = np.random.default_rng(0)
    costs = rng.uniform(0.5, 2, size=(8, 8))
    solution = solve(rng.exponential(size=(8, 8)), [2.0] * 8, consensus=0.05, costs=costs, time_limit=0.0)
    assert solution.objective > 0
    assert solution.bound >= solution.objective


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"consensus": 1.0, "diversity": 1.0}, "one knob"),
        ({"consensus": -1.0}, "consensus is -1.0"),
        ({"diversity": inf}, "diversity is inf"),
        ({"consensus": float("nan")}, "consensus is nan"),
        ({"costs": [1.0]}, "costs have shape"),
        ({"costs": [-1.0, 1.0]}, "costs hold -1.0 at unit 0, client 0, layer 0"),
        ({"setups": [0.0, inf]}, "setups hold inf at unit 0, client 0, layer 1"),
        ({"costs": np.ones((3, 2, 2)), "setups": np.ones((2, 2, 2))}, "units disagree: budgets have 1, costs have 3"),
        ({"consensus": 1e308}, "overflow"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        solve([[1.0, 2.0], [2.0, 1.0]], [1, 1], **arguments)  # type: ignore[arg-type]


def test_a_score_that_is_not_finite_is_named() -> None:
    with pytest.raises(ConfigError, match="client 1, layer 0 is nan"):
        solve([[1.0], [float("nan")]], [1, 1])


@pytest.mark.parametrize("budgets", [[-1.0, 1.0], [float("nan"), 1.0], [1.0]])
def test_bad_budgets_are_refused(budgets: list[float]) -> None:
    with pytest.raises(BudgetError, match="budget"):
        solve([[1.0, 2.0], [2.0, 1.0]], budgets)


def test_input_is_not_changed() -> None:
    scores, budgets, costs = np.array([[1.0, 2.0]]), np.array([9.0]), np.array([2.0, 2.0])
    solve(scores, budgets, costs=costs, consensus=1.0)
    assert (scores.tolist(), budgets.tolist(), costs.tolist()) == ([[1.0, 2.0]], [9.0], [2.0, 2.0])
