"""P4, P5, P6, P7: which layers a client trains (the whole table: ``test_table.py``)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, permutations, product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedstrata.solvers import solve

Floats = NDArray[np.float64]
PROFILE = settings(max_examples=60, deadline=None, derandomize=True)
SIXTEENTHS = st.integers(1, 160).map(lambda n: n / 16)
MONOTONE = (lambda x: x**3, np.sqrt, np.exp, lambda x: 1000 * x, lambda x: x / 3 + 1, np.log1p)
"""Strictly increasing on positive scores, to positive values."""


@st.composite
def tables(draw: st.DrawFn, *, clients: int = 8, layers: int = 10, least: int = 0) -> Floats:
    """Return scores of whole numbers, with ties: sums of them are exact. Shape ``[clients, layers]``."""
    shape = (draw(st.integers(1, clients)), draw(st.integers(1, layers)))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(least, 7, size=shape).astype(np.float64)


def budgets_for(scores: Floats, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, scores.shape[1] + 2, size=len(scores))


def best(row: Floats, count: int) -> set[int]:
    """Return the layers of largest positive score, ties by index."""
    ranked = sorted(range(len(row)), key=lambda layer: (-float(row[layer]), layer))
    return {layer for layer in ranked[:count] if row[layer] > 0}


def chosen(masks: NDArray[np.bool_]) -> list[set[int]]:
    return [set(map(int, np.flatnonzero(row))) for row in masks]


@PROFILE
@given(scores=tables(), seed=st.integers(0, 10**6))
def test_p4_without_consensus_everybody_takes_the_own_best_layers(scores: Floats, seed: int) -> None:
    budgets = budgets_for(scores, seed)
    assert chosen(solve(scores, budgets).masks) == [best(row, k) for row, k in zip(scores, budgets, strict=True)]


@PROFILE
@given(scores=tables(least=1), seed=st.integers(0, 10**6))
def test_p4_and_what_keeps_each_clients_ranking_keeps_the_masks(scores: Floats, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bent = np.array([MONOTONE[rng.integers(len(MONOTONE))](row) for row in scores])
    budgets = budgets_for(scores, seed)
    assert chosen(solve(bent, budgets).masks) == chosen(solve(scores, budgets).masks)


@PROFILE
@given(scores=tables(), budget=st.integers(0, 10), large=st.booleans())
def test_p5_with_all_consensus_equal_budgets_are_one_set_of_the_largest_sums(
    scores: Floats, budget: int, large: bool
) -> None:
    """A finite weight above the range of the sums does the same, but leaves out layers that are worth nothing."""
    weight = 1e4 if large else inf
    masks = chosen(solve(scores, [budget] * len(scores), consensus=weight).masks)
    sums = [sum(map(Fraction, column)) for column in scores.T]
    ranked = sorted(range(len(sums)), key=lambda layer: (-sums[layer], layer))[:budget]
    wanted = {layer for layer in ranked if sums[layer] > 0 or not large}
    assert all({layer for layer in mask if sums[layer] > 0} == {i for i in wanted if sums[i] > 0} for mask in masks)
    assert all(mask == masks[0] for mask in masks)
    assert large or masks[0] == wanted


@settings(max_examples=40, deadline=None, derandomize=True)
@given(scores=tables(clients=5, layers=5), seed=st.integers(0, 10**6))
def test_p5_unequal_budgets_are_nested_spent_and_best_among_nested(scores: Floats, seed: int) -> None:
    budgets = budgets_for(scores, seed)
    masks = chosen(solve(scores, budgets, consensus=inf).masks)
    layers = scores.shape[1]
    assert [len(mask) for mask in masks] == [min(int(k), layers) for k in budgets]
    by_size = sorted(masks, key=len)
    assert all(small <= large for small, large in pairwise(by_size))
    reached = sum(scores[c, layer] for c, mask in enumerate(masks) for layer in mask)
    orders = permutations(range(layers))
    assert reached == max(sum(scores[c, list(o[:k])].sum() for c, k in enumerate(budgets)) for o in orders)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    scores=tables(least=1),
    seed=st.integers(0, 10**6),
    consensus=st.sampled_from([0.0, 0.1, 1.0, inf]),
    units=st.integers(1, 3),
)
def test_p6_no_budget_is_exceeded_whatever_layers_cost(scores: Floats, seed: int, consensus: float, units: int) -> None:
    """Costs are sixteenths, so that sums of them are exact: no tolerance hides an excess."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(1, 160, size=(units, *scores.shape)) / 16
    budgets = rng.integers(0, 400, size=(units, len(scores))) / 16
    masks = solve(scores, budgets, consensus=consensus, costs=costs).masks
    for unit, client in product(range(units), range(len(scores))):
        spent = sum(Fraction(costs[unit, client, layer]) for layer in np.flatnonzero(masks[client]))
        assert spent <= Fraction(budgets[unit, client])


@PROFILE
@given(scores=tables(least=1), seed=st.integers(0, 10**6), consensus=st.sampled_from([0.0, inf]))
def test_p6_who_can_pay_for_a_layer_trains_one(scores: Floats, seed: int, consensus: float) -> None:
    """Between no weight and all weight, P1 itself may leave a client without a layer that nobody shares."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(1, 160, size=scores.shape) / 16
    budgets = rng.integers(0, 200, size=len(scores)) / 16
    masks = solve(scores, budgets, consensus=consensus, costs=costs).masks
    assert (masks.any(axis=1) == (costs.min(axis=1) <= budgets)).all()


def objective(scores: Floats, masks: NDArray[np.bool_], consensus: Fraction, diversity: Fraction) -> Fraction:
    """Return P1's value exactly."""
    loads = [int(load) for load in masks.sum(axis=0)]
    gain = sum((Fraction(s) for s in scores[masks]), Fraction(0))
    return gain - sum(consensus * k * (len(scores) - k) + diversity * k * k for k in loads)


WEIGHTS = st.sampled_from([(0.0, 0.0), (0.25, 0.0), (1.0, 0.0), (4.0, 0.0), (0.0, 0.25), (0.0, 1.0)])


@PROFILE
@given(scores=tables(), seed=st.integers(0, 10**6), weights=WEIGHTS)
def test_p7_never_worse_than_everybody_alone_or_all_alike(
    scores: Floats, seed: int, weights: tuple[float, float]
) -> None:
    consensus, diversity = map(Fraction, weights)
    budgets = budgets_for(scores, seed)
    solution = solve(scores, budgets, consensus=weights[0], diversity=weights[1])
    value = objective(scores, solution.masks, consensus, diversity)
    for baseline in (solve(scores, budgets), solve(scores, budgets, consensus=inf)):
        assert value >= objective(scores, baseline.masks, consensus, diversity) - Fraction(1, 10**9)
    assert abs(Fraction(solution.objective) - value) <= Fraction(1, 10**9)


def every_mask(clients: int, layers: int) -> NDArray[np.bool_]:
    """Return all masks of all clients, shape ``[2 ** (clients * layers), clients, layers]``."""
    numbers = np.arange(2 ** (clients * layers))[:, None] >> np.arange(clients * layers)
    return (numbers & 1).astype(np.bool_).reshape(-1, clients, layers)


SHAPES = ((4, 4), (2, 8), (8, 2), (1, 10), (8, 1), (5, 3))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), weights=WEIGHTS, priced=st.booleans())
def test_p7_as_good_as_the_best_of_all_masks(
    shape: tuple[int, int], seed: int, weights: tuple[float, float], priced: bool
) -> None:
    """Whole scores, quarters as weights and sixteenths as costs: float64 sums are exact, so is the comparison."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-1, 7, size=shape).astype(np.float64)
    costs = rng.integers(1, 48, size=shape) / 16 if priced else np.ones(shape)
    budgets = rng.integers(0, 64, size=shape[0]) / 16 if priced else budgets_for(scores, seed).astype(np.float64)
    masks = every_mask(*shape)
    loads = masks.sum(axis=1)
    penalty = weights[0] * loads * (shape[0] - loads) + weights[1] * loads**2
    values = np.einsum("mcl,cl->m", masks, scores) - penalty.sum(axis=1)
    affordable = (np.einsum("mcl,cl->mc", masks, costs) <= budgets).all(axis=1)
    solution = solve(scores, budgets, consensus=weights[0], diversity=weights[1], costs=costs if priced else None)
    assert solution.objective == pytest.approx(float(values[affordable].max()), abs=1e-9)
