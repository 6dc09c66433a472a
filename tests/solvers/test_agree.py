from __future__ import annotations

from itertools import combinations, product
from math import inf
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedstrata.solvers import agree as module
from fedstrata.solvers.agree import agree, descend, sample
from fedstrata.solvers.best_response import polish, responses
from fedstrata.solvers.bound import evaluate, first_prices
from fedstrata.solvers.diverse import diverse
from fedstrata.solvers.objective import Instance
from solvers.instances import instance

Floats = NDArray[np.float64]

TABLES = Path(__file__).parent / "fixtures" / "scores.npz"
RHOS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
SHAPES = ((1, 1), (1, 4), (2, 3), (3, 3), (2, 4), (4, 2), (5, 1), (3, 2))


def drive(problem: Instance) -> tuple[NDArray[np.bool_], float, str]:
    return agree(problem, inf) if problem.consensus > 0 else diverse(problem, inf)


def every_mask(clients: int, layers: int) -> NDArray[np.bool_]:
    """Return all masks of all clients, shape ``[2 ** (clients * layers), clients, layers]``."""
    bits = np.arange(2 ** (clients * layers))[:, None] >> np.arange(clients * layers)
    return (bits & 1).astype(np.bool_).reshape(-1, clients, layers)


EVERY = {shape: every_mask(*shape) for shape in SHAPES}
SPENT = {shape: masks.sum(axis=2) for shape, masks in EVERY.items()}
LOADS = {shape: masks.sum(axis=1) for shape, masks in EVERY.items()}
FLAT = {shape: masks.reshape(len(masks), -1).astype(np.float64) for shape, masks in EVERY.items()}


def tiny(seed: int) -> Instance:
    """Return a tiny problem: ties, zeros, negative and equal rows, budgets of nothing and of everything, any scale."""
    rng = np.random.default_rng([seed, 7])
    clients, layers = SHAPES[seed % len(SHAPES)]
    scores = (
        rng.exponential(size=(clients, layers)),
        rng.normal(size=(clients, layers)),
        rng.integers(-2, 4, size=(clients, layers)).astype(np.float64),
        np.tile(rng.integers(0, 3, size=layers).astype(np.float64), (clients, 1)),
        rng.pareto(1.5, size=(clients, layers)),
        np.tile(rng.normal(size=layers), (clients, 1)) + 1e-9 * rng.normal(size=(clients, layers)),
    )[rng.integers(6)]
    scale = float(10.0 ** rng.choice([-12, -6, 0, 0, 0, 6, 12]))
    budgets = rng.choice([0.0, 1.0, 1.0, 2.0, 2.0, 3.0, inf], size=clients)
    weight = float(rng.choice([1e-6, 0.01, 0.1, 0.25, 0.5, 1.0, 3.0, 100.0])) * scale
    return instance(scores * scale, budgets, **{"diversity" if seed % 4 == 3 else "consensus": weight})


def optimum(problem: Instance) -> float:
    """Return the best of all affordable masks."""
    shape = problem.scores.shape
    gains = FLAT[shape] @ problem.scores.ravel() - problem.penalties()[LOADS[shape]].sum(axis=1)
    return float(gains[(SPENT[shape] <= problem.budgets).all(axis=1)].max())


@pytest.mark.parametrize("block", range(1))
def test_no_bound_is_below_the_optimum_on_tiny_instances(block: int) -> None:
    """Five hundred of them; ``make soak`` plays ten blocks."""
    for seed in range(500 * block, 500 * block + 500):
        problem = tiny(seed)
        best = optimum(problem)
        round_off = 1e-14 * (float(np.abs(problem.scores).sum()) + float(problem.penalties().max()))
        masks, bound, rule = drive(problem)
        assert bound >= best - round_off, (seed, rule)
        assert problem.value(masks) <= best + round_off, (seed, rule)
        assert (masks.sum(axis=1) <= problem.budgets).all(), (seed, rule)
        assert problem.value(masks) >= best - 1e-7 * max(abs(best), float(np.abs(problem.scores).max())), (
            seed,
            rule,
        )


@pytest.mark.parametrize("block", range(1))
def test_no_dual_is_below_the_optimum_at_any_prices(block: int) -> None:
    for seed in range(5000 + 500 * block, 5500 + 500 * block):
        problem = tiny(seed)
        best = optimum(problem)
        rng = np.random.default_rng(seed)
        size = float(np.abs(problem.scores).max())
        prices = first_prices(problem, responses(problem, problem.scores))
        if seed % 2:
            prices = rng.exponential(size=problem.clients) * size * rng.integers(0, 2)
        round_off = 1e-14 * (float(np.abs(problem.scores).sum()) + float(problem.penalties().max()))
        assert evaluate(problem, prices).bound >= best - round_off, seed


@pytest.mark.parametrize("block", range(1))
def test_what_highs_proves_is_what_every_mask_says(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dual is made useless, so that every bound that is not trivial comes from the count formulation."""
    monkeypatch.setattr(module, "DUAL_WORK", 0)
    monkeypatch.setattr(module, "CLOSED", -1.0)
    for seed in range(100 * block, 100 * block + 100):
        problem = tiny(4 * seed)
        best = optimum(problem)
        round_off = 1e-14 * (float(np.abs(problem.scores).sum()) + float(problem.penalties().max()))
        _, bound, _ = agree(problem, inf)
        assert bound >= best - round_off, seed


@pytest.mark.parametrize("block", range(1))
def test_a_float32_descent_still_ends_in_a_float64_bound(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.solvers.bound.HALF", 0)
    for seed in range(100 * block, 100 * block + 100):
        problem = tiny(seed)
        if problem.consensus == 0:
            continue
        masks = responses(problem, problem.scores)
        dual = descend(problem, first_prices(problem, masks), problem.value(masks))
        assert dual.bound >= optimum(problem) - 1e-14 * float(np.abs(problem.scores).sum() + problem.penalties().max())
        assert dual.bound == min(evaluate(problem, dual.prices).bound, evaluate(problem, 0 * dual.prices).bound)


@pytest.mark.parametrize(("kind", "rho"), list(product(["lognormal", "grouped", "pareto"], [0.1, 3.0, 10.0])))
def test_many_clients_are_certified_to_a_tenth_of_a_percent(kind: str, rho: float) -> None:
    rng = np.random.default_rng(1)
    scores = {
        "lognormal": np.exp(rng.normal(size=(300, 24))),
        "grouped": np.exp(rng.normal(size=(4, 24)))[rng.integers(0, 4, size=300)] * rng.exponential(size=(300, 24)),
        "pareto": rng.pareto(1.5, size=(300, 24)),
    }[kind]
    problem = instance(scores, rng.integers(1, 5, size=300), consensus=rho * float(np.median(scores)) / 300)
    masks, bound, _ = agree(problem, inf)
    assert bound - problem.value(masks) <= 1e-3 * problem.value(masks)
    assert bound >= problem.value(masks)


def test_a_sampled_problem_is_certified_like_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    scores = np.exp(rng.normal(size=(400, 12)))
    problem = instance(scores, rng.integers(1, 5, size=400), consensus=10 * float(np.median(scores)) / 400)
    whole = problem.value(agree(problem, inf)[0])
    monkeypatch.setattr(module, "SAMPLE", 50)
    masks, bound, _ = agree(problem, inf)
    assert problem.value(masks) == pytest.approx(whole, rel=1e-3)
    assert whole - 1e-9 <= bound <= whole * (1 + 1e-2)


def test_a_sample_keeps_the_shares_of_the_penalty() -> None:
    problem = instance(np.ones((6, 2)), [1] * 6, consensus=0.5)
    part = sample(problem, 3)
    assert part.clients * part.consensus == problem.clients * problem.consensus


def test_out_of_time_still_answers_with_a_bound() -> None:
    rng = np.random.default_rng(0)
    problem = instance(rng.random(size=(20, 12)), rng.integers(1, 5, size=20), consensus=0.05)
    masks, bound, rule = agree(problem, -inf)
    assert rule == "best-response"
    assert bound >= problem.value(masks) > 0


def test_no_two_clients_gain_together_where_the_answer_is_proven() -> None:
    problem = instance(np.random.default_rng(4).exponential(size=(6, 4)), [2] * 6, consensus=0.1)
    masks, bound, _ = agree(problem, inf)
    value = problem.value(masks)
    assert bound <= value * (1 + 1e-9)
    rows = [row for row in every_mask(1, 4)[:, 0] if row.sum() <= 2]
    for (one, two), (first, second) in product(combinations(range(6), 2), product(rows, rows)):
        trial = masks.copy()
        trial[one], trial[two] = first, second
        assert problem.value(trial) <= value + 1e-9


def real_tables() -> list[str]:
    with np.load(TABLES, allow_pickle=False) as found:
        return sorted(found.files)


@pytest.mark.parametrize("name", real_tables())
def test_recorded_score_tables_are_certified_to_a_tenth_of_a_percent(name: str) -> None:
    with np.load(TABLES, allow_pickle=False) as found:
        scores = found[name]
    clients = len(scores)
    budgets = np.random.default_rng(clients).integers(1, 5, size=clients)
    for rho in RHOS:
        problem = instance(scores, budgets, consensus=rho * float(np.median(scores)) / clients)
        masks, bound, _ = agree(problem, inf)
        assert bound - problem.value(masks) <= 1e-3 * abs(problem.value(masks)), rho
        assert problem.value(polish(problem, masks)) <= bound, rho
    problem = instance(scores, budgets, diversity=float(np.median(scores)) / clients)
    masks, bound, _ = diverse(problem, inf)
    assert problem.value(masks) <= bound <= problem.value(masks) * (1 + 1e-6)
