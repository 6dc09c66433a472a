from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedstrata.solvers import client_masks as module
from fedstrata.solvers import core_search as core
from fedstrata.solvers.client_masks import Priced, affordable, exact, priced, quick, within_slack
from fedstrata.solvers.objective import Objective
from fedstrata.solvers.tariff import tariff
from solvers.priced_cases import case, payable, subsets

Floats = NDArray[np.float64]


@pytest.fixture
def untabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_LAYERS", 0)


def example(seed: int, clients: int = 6, layers: int = 7) -> tuple[Priced, list[list[int]]]:
    """Return a problem, and the indices of the subsets that each client can pay for."""
    it = case(seed, clients=clients, layers=layers)
    problem = priced(
        Objective(it.scores, 0.0, 0.0), tariff(it.budgets, it.scores.shape, costs=it.costs, setups=it.setups)
    )
    fits = [
        [at for at, mask in enumerate(subsets(layers)) if payable(it.budgets, it.costs, it.setups, client, mask)]
        for client in range(clients)
    ]
    return problem, fits


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.usefixtures("untabled")
def test_the_search_equals_brute_force(seed: int) -> None:
    problem, fits = example(seed)
    scores = problem.objective.scores
    best = np.array([(subsets(7)[which] @ scores[client]).max() for client, which in enumerate(fits)])
    answers = exact(problem, problem.everyone, scores)
    np.testing.assert_allclose(answers.values, best, atol=1e-9)
    np.testing.assert_allclose(np.where(answers.masks, scores, 0.0).sum(axis=1), answers.values)
    assert affordable(problem, problem.everyone, answers.masks).all()
    assert (answers.bounds >= best).all()
    assert (answers.bounds <= best + 1e-9).all()


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.usefixtures("untabled")
def test_quick_masks_are_affordable_and_quick_bounds_hold(seed: int) -> None:
    problem, _ = example(seed)
    scores = problem.objective.scores
    best = exact(problem, problem.everyone, scores)
    for rough in (False, True):
        answers = quick(problem, problem.everyone, scores, rough=rough)
        assert affordable(problem, problem.everyone, answers.masks).all()
        assert (answers.bounds >= best.values).all()
        assert (answers.values <= best.values + 1e-9).all()


@pytest.mark.usefixtures("untabled")
def test_a_search_cut_short_says_what_it_may_have_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    costs = rng.uniform(1, 2, size=(1, 3, 30))
    scores = costs[0] + rng.uniform(0, 0.01, size=(3, 30))
    problem = priced(Objective(scores, 0.0, 0.0), tariff([20.0] * 3, (3, 30), costs=costs))
    full = exact(problem, problem.everyone, scores)
    monkeypatch.setattr(core, "LIMIT", 5)
    cut = exact(problem, problem.everyone, scores)
    assert (cut.bounds >= full.values).all()
    assert (cut.bounds > cut.values + 1e-6).any()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("tabled", [True, False])
def test_within_slack_finds_every_mask_above_its_floor(
    seed: int, tabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TABLE_LAYERS", 12 if tabled else 0)
    problem, fits = example(seed, clients=3, layers=5)
    scores = problem.objective.scores
    floors = exact(problem, problem.everyone, scores).values - 1.0 - 1e-7
    found = within_slack(problem, scores, floors, limit=1000)
    assert found is not None
    clients, masks = found
    seen = {(int(client), tuple(mask.astype(int).tolist())) for client, mask in zip(clients, masks, strict=True)}
    wanted = {
        (client, tuple(subsets(5)[at].astype(int).tolist()))
        for client, which in enumerate(fits)
        for at in which
        if subsets(5)[at] @ scores[client] > floors[client]
    }
    assert len(seen) == len(clients)
    assert seen == wanted
    assert within_slack(problem, scores, floors, limit=len(wanted) - 1) is None


def test_rows_may_repeat_clients_and_are_solved_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_LAYERS", 0)
    problem, _ = example(4)
    worth = np.random.default_rng(0).normal(size=(12, 7))
    rows = np.tile(problem.everyone, 2)
    together = exact(problem, rows, worth)
    monkeypatch.setattr(module, "CHUNK", 1)
    np.testing.assert_array_equal(exact(problem, rows, worth).masks, together.masks)


def test_ties_prefer_fewer_and_lower_layers() -> None:
    scores = np.array([[1.0, 1.0, 1.0, 0.0]])
    problem = priced(Objective(scores, 0.0, 0.0), tariff([2.5], (1, 4), setups=[0.5, 0.5, 0.5, 0.0]))
    assert exact(problem, problem.everyone, scores).masks.astype(int).tolist() == [[1, 1, 0, 0]]
