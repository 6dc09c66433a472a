from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstrata.solvers.client_masks import Priced, affordable, priced
from fedstrata.solvers.objective import Objective
from fedstrata.solvers.priced_best_response import climb, force, polish, shared_sets, starts
from fedstrata.solvers.tariff import tariff


def example(seed: int) -> Priced:
    rng = np.random.default_rng(seed)
    prices = tariff(
        rng.uniform(2, 6, size=(2, 8)),
        (8, 6),
        costs=rng.uniform(0.5, 2, size=(2, 8, 6)),
        setups=np.sort(rng.uniform(0, 2, size=(2, 8, 6)), axis=2)[:, :, ::-1],
    )
    return priced(Objective(rng.exponential(size=(8, 6)), float(rng.uniform(0, 0.5)), 0.0), prices)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_step_lowers_the_objective_or_breaks_a_budget(seed: int) -> None:
    problem = example(seed)
    masks = climb(problem, starts(problem)[:1])
    polished = polish(problem, masks)
    forced = force(problem, polished, work=10_000)
    reached = [problem.objective.value(found) for found in (masks, polished, forced)]
    assert reached == sorted(reached) or max(np.diff(reached)) > -1e-9
    assert all(affordable(problem, problem.everyone, found).all() for found in (masks, polished, forced))


def test_after_polish_no_client_gains_alone() -> None:
    problem = example(1)
    masks = polish(problem, climb(problem, starts(problem)))
    for client in range(problem.clients):
        for layer in range(problem.layers):
            changed = masks.copy()
            changed[client, layer] ^= True
            if problem.tariff.fits(changed[client], client):
                assert problem.objective.value(changed) <= problem.objective.value(masks) + 1e-9


def test_a_shared_set_is_found_where_no_single_client_would_start_it() -> None:
    scores = np.tile([[1.0, 0.9, 0.1]], (10, 1))
    problem = priced(Objective(scores, 2.0, 0.0), tariff([2.5] * 10, (10, 3), setups=[0.5, 0.2, 0.0]))
    assert shared_sets(problem, work=10_000)[-1].tolist() == [10.0, 10.0, 0.0]


def test_forcing_a_layer_escapes_where_no_single_client_can() -> None:
    scores = np.tile([[1.0, 0.9]], (10, 1))
    problem = priced(Objective(scores, 1.0, 0.0), tariff([1.5] * 10, (10, 2), setups=[0.5, 0.0]))
    stuck = np.zeros((10, 2), dtype=np.bool_)
    stuck[:, 1] = True
    assert problem.objective.value(polish(problem, stuck)) == problem.objective.value(stuck)
    assert force(problem, stuck, work=10_000).astype(int).tolist() == [[1, 0]] * 10
