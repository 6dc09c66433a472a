"""Masks of least bound: against every combination, within every budget, and never below the relaxation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.errors import BudgetError, ConfigError
from fedstrata.solvers.least_bound import solve_mass
from fedstrata.solvers.mass_best_response import ascend, polish, toward
from fedstrata.solvers.mass_bound import evaluate, lower_bound, smallest_shares
from fedstrata.solvers.mass_exact import alike, enumerated
from fedstrata.solvers.mass_problem import MassProblem, mass_problem

KINDS = ("counts", "alike", "priced")
SHAPES = ((3, 4), (4, 3))


def case(shape: tuple[int, int], kind: str, seed: int) -> MassProblem:
    """Return a random problem: budgets that count layers, clients that are alike, or prices with set-ups."""
    rng = np.random.default_rng(seed)
    n, layers = shape
    missing, spread = rng.exponential(size=layers), rng.exponential(size=layers) * rng.choice([0.0, 0.1, 1.0, 5.0])
    if kind == "alike":
        return mass_problem(np.ones(n), missing, spread, np.full(n, float(rng.integers(1, layers))))
    shares = rng.dirichlet(np.ones(n))
    if kind == "counts":
        return mass_problem(shares, missing, spread, rng.integers(0, layers, size=n))
    prices: dict[str, Any] = {"costs": rng.random((n, layers)), "setups": 2 * rng.random((n, layers))}
    return mass_problem(shares, missing, spread, 3 * rng.random(n), **prices)


def least(problem: MassProblem) -> float:
    """Return the least bound by trying every mask of every client."""
    n, layers = problem.shape
    table = [np.array(mask, dtype=np.bool_) for mask in itertools.product([0, 1], repeat=layers)]
    choices = [[mask for mask in table if problem.tariff.fits(mask, client)] for client in range(n)]
    masses = np.zeros((1, layers))
    for share, own in zip(problem.shares, choices, strict=True):
        masses = (masses[:, None] + share * np.array(own)[None]).reshape(-1, layers)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(problem.spread > 0, problem.spread * np.maximum(1 / masses - 1, 0), 0.0)
    return float(np.where(masses > 1e-14, part, problem.missing).sum(axis=1).min())


def affordable(problem: MassProblem, masks: np.ndarray) -> bool:
    return all(problem.tariff.fits(mask, client) for client, mask in enumerate(masks))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_few_clients_get_the_best_masks(shape: tuple[int, int], kind: str) -> None:
    for seed in range(25):
        p = case(shape, kind, seed)
        prices = {"costs": p.tariff.costs, "setups": p.tariff.setups}
        found = solve_mass(p.shares, p.missing, p.spread, p.tariff.budgets, **prices)
        assert -found.objective == pytest.approx(least(p), rel=1e-9, abs=1e-12)
        assert -found.objective == pytest.approx(p.value(found.masks))
        assert affordable(p, found.masks)
        assert found.gap == pytest.approx(0, abs=1e-9)
        assert found.rule == ("counts" if kind == "alike" else "enumeration")


@pytest.mark.parametrize("kind", KINDS)
def test_ascent_and_relaxation_hold_the_best_between_them(kind: str) -> None:
    hits = 0
    for seed in range(30):
        p = case((4, 3), kind, seed)
        masks, best = ascend(p, []), least(p)
        assert affordable(p, masks)
        assert lower_bound(p, p.value(masks)).bound <= best * (1 + 1e-12) + 1e-12
        assert p.value(masks) >= best * (1 - 1e-12) - 1e-12
        hits += p.value(masks) <= best * (1 + 1e-9) + 1e-12
    assert hits >= 28


@given(st.sampled_from(KINDS), st.integers(0, 10_000), st.lists(st.floats(0, 20), min_size=3, max_size=3))
def test_every_price_gives_a_lower_bound(kind: str, seed: int, prices: list[float]) -> None:
    p = case((4, 3), kind, seed)
    assert evaluate(p, np.array(prices), smallest_shares(p)).bound <= least(p) * (1 + 1e-9) + 1e-9


@given(st.sampled_from(KINDS), st.integers(0, 10_000))
def test_polishing_never_makes_masks_worse_and_leaves_nobody_who_gains(kind: str, seed: int) -> None:
    p = case((5, 4), kind, seed)
    rng = np.random.default_rng(seed)
    start = p.answers(np.arange(5), rng.normal(size=(5, 4)))
    found = polish(p, start)
    assert affordable(p, found)
    assert p.value(found) <= p.value(start) * (1 + 1e-9)
    for client in range(5):
        for mask in itertools.product([False, True], repeat=4):
            trial = found.copy()
            trial[client] = mask
            if affordable(p, trial):
                assert p.value(trial) >= p.value(found) * (1 - 1e-9) - 1e-12


def test_many_clients_are_certified() -> None:
    rng = np.random.default_rng(3)
    shares, missing, spread = rng.dirichlet(np.ones(20)), rng.exponential(size=12), rng.exponential(size=12)
    found = solve_mass(shares, missing, spread, rng.integers(1, 6, size=20))
    assert found.rule == "best-response"
    assert found.bound >= found.objective
    assert found.gap < 0.05


def test_the_order_of_the_clients_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    shares, missing, spread = rng.dirichlet(np.ones(9)), rng.exponential(size=6), rng.exponential(size=6)
    budgets, order = rng.integers(1, 4, size=9), rng.permutation(9)
    one = solve_mass(shares, missing, spread, budgets)
    other = solve_mass(shares[order], missing, spread, budgets[order])
    np.testing.assert_array_equal(one.masks[order], other.masks)


def test_the_scale_of_gradients_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    shares, missing, spread = rng.dirichlet(np.ones(9)), rng.exponential(size=6), rng.exponential(size=6)
    one, other = (solve_mass(shares, s * missing, s * spread, np.full(9, 2)) for s in (1.0, 2.0**-40))
    np.testing.assert_array_equal(one.masks, other.masks)
    assert other.objective == pytest.approx(one.objective * 2.0**-40)


def test_alike_clients_by_hand() -> None:
    """Both on layer 0 leaves 3; one each costs 9 + 1. With kappa_0^2 = 1, one each costs 1 + 1 and is better."""
    together, apart = (mass_problem([1, 1], [4.0, 3.0], [k, 1.0], [1, 1]) for k in (9.0, 1.0))
    for problem, value in ((together, 3.0), (apart, 2.0)):
        masks = alike(problem)
        assert masks is not None
        assert problem.value(masks) == value


def test_alike_needs_equal_clients_and_enumeration_few_of_them() -> None:
    assert alike(mass_problem([1, 2], [1.0], [1.0], [1, 1])) is None
    assert alike(mass_problem([1, 1], [1.0, 1.0], [1.0, 1.0], [1, 2])) is None
    assert enumerated(mass_problem(np.ones(20), np.ones(4), np.ones(4), np.ones(20))) is None


def test_masses_come_near_to_those_wanted() -> None:
    masks = toward(mass_problem([4, 3, 2, 1], [1.0, 1.0], [1.0, 1.0], [1] * 4), np.array([0.6, 0.4]))
    assert (np.array([4, 3, 2, 1]) @ masks).tolist() == [6, 4]


def test_full_budgets_leave_no_error_and_nobody_all_of_it() -> None:
    full = solve_mass([2, 1], [1.0, 2.0], [3.0, 4.0], [2, 2])
    assert (bool(full.masks.all()), full.objective, full.gap) == (True, 0.0, 0.0)
    none = solve_mass([2, 1], [1.0, 2.0], [3.0, 4.0], [0, 0])
    assert (bool(none.masks.any()), none.objective, none.gap) == (False, -3.0, 0.0)
    assert solve_mass([], [], [], []).rule == "empty"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (([1, 1], [1.0, 2.0], [1.0]), "shapes disagree"),
        (([1, -1], [1.0], [1.0]), "shares hold"),
        (([1, 1], [np.nan], [1.0]), "missing hold"),
        (([0, 0], [1.0], [1.0]), "shares are all 0"),
    ],
)
def test_what_is_no_problem_is_refused(values: tuple[list[float], list[float], list[float]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve_mass(*values, [1, 1])


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(BudgetError):
        solve_mass([1], [1.0], [1.0], [-1])
