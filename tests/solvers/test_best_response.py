from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.solvers.best_response import ascend, force, polish, starts, top_rows
from fedstrata.solvers.objective import Instance
from solvers.instances import instance


def example(seed: int) -> Instance:
    rng = np.random.default_rng(seed)
    budgets = rng.integers(1, 4, size=8)
    return instance(rng.exponential(size=(8, 6)), budgets, consensus=float(rng.uniform(0, 0.5)))


def test_top_rows_never_takes_more_than_the_count_or_what_is_not_positive() -> None:
    worth = np.array([[1.0, 3.0, 3.0, 3.0], [-1.0, 0.0, 2.0, -3.0], [1.0, 1.0, 1.0, 1.0]])
    masks = top_rows(worth, np.array([2.0, 3.0, 0.0]))
    assert masks.astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


@given(seed=st.integers(0, 10**6), layers=st.integers(1, 20), most=st.integers(0, 20), ties=st.booleans())
def test_repeated_maxima_and_the_sort_agree(seed: int, layers: int, most: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    worth = np.asarray(rng.integers(-1, 3, size=(6, layers)) if ties else rng.normal(size=(6, layers)), np.float64)
    counts = np.append(rng.integers(0, most + 1, size=5), 20).clip(max=layers) * 1.0
    order = np.argsort(np.argsort(-worth, axis=1, kind="stable"), axis=1)
    wanted = (order < counts[:, None]) & (worth > 0)
    np.testing.assert_array_equal(top_rows(worth, counts), wanted)
    np.testing.assert_array_equal(top_rows(worth[:5], counts[:5].clip(max=3)), wanted[:5] & (order[:5] < 3))


@given(seed=st.integers(0, 10**6))
def test_every_step_of_the_ascent_is_monotone(seed: int) -> None:
    problem = example(seed)
    loads = np.random.default_rng(seed).integers(0, 9, size=(1, 6)).astype(np.float64)
    reached = [problem.value(_step(problem, loads))]
    for _ in range(5):
        loads = _step(problem, loads[0][None]).sum(axis=0)[None].astype(np.float64)
        reached.append(problem.value(_step(problem, loads)))
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(reached))


def _step(problem: Instance, loads: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.bool_]:
    slopes = problem.consensus * (problem.clients - 2 * loads[0])
    return top_rows(problem.scores - slopes, problem.budgets)


@given(seed=st.integers(0, 10**6))
def test_polish_and_force_never_lower_the_objective(seed: int) -> None:
    problem = example(seed)
    masks, value = ascend(problem, starts(problem)[:1])
    polished = polish(problem, masks)
    assert problem.value(masks) == np.float64(value) or abs(problem.value(masks) - value) < 1e-9
    assert problem.value(polished) >= value - 1e-9
    assert problem.value(force(problem, polished)) >= problem.value(polished) - 1e-9


def test_after_polish_no_client_gains_alone() -> None:
    problem = example(1)
    masks = polish(problem, ascend(problem, starts(problem))[0])
    for client in range(problem.clients):
        for layer in range(problem.layers):
            changed = masks.copy()
            changed[client, layer] ^= True
            if changed[client].sum() <= problem.budgets[client]:
                assert problem.value(changed) <= problem.value(masks) + 1e-9


def test_forcing_a_layer_escapes_where_no_single_client_can() -> None:
    problem = instance(np.tile([[1.0, 0.9]], (10, 1)), [1] * 10, consensus=1.0)
    stuck = np.zeros((10, 2), dtype=np.bool_)
    stuck[:, 1] = True
    assert problem.value(polish(problem, stuck)) == problem.value(stuck)
    assert force(problem, stuck).astype(int).tolist() == [[1, 0]] * 10
