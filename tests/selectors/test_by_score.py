"""Independent and common: rankings by score."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedstrata.domain.selection import SelectionProblem
from fedstrata.errors import SelectionError
from fedstrata.selectors.common import Common
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.protocol import Selector

Make = Callable[..., SelectionProblem]

SCORES = [[5.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.5, 2.0]]


def masks(selector: Selector, problem: SelectionProblem) -> list[list[int]]:
    selection, _ = selector.select(problem, selector.init(problem.layers))
    return [sorted(selection.masks[client]) for client in problem.clients]


def test_independent_takes_each_client_s_own_best(make_problem: Make) -> None:
    assert masks(Independent(), make_problem([1, 2], scores=SCORES)) == [[0], [2, 3]]


def test_common_ranks_by_the_sum(make_problem: Make) -> None:
    assert masks(Common(), make_problem([1, 2], scores=SCORES)) == [[0], [0, 2]]


@pytest.mark.parametrize("selector", [Independent(), Common()])
def test_a_budget_is_spent_whatever_the_sign_and_ties_go_to_the_lower_layer(
    selector: Selector, make_problem: Make
) -> None:
    assert masks(selector, make_problem([2], scores=[[-1.0, -2.0, -1.0]])) == [[0, 2]]
    assert masks(selector, make_problem([2], scores=[[1.0, 1.0, 1.0]])) == [[0, 1]]


@pytest.mark.parametrize("selector", [Independent(), Common()])
def test_tied_layers_are_passed_over_even_if_they_score_best(selector: Selector, make_problem: Make) -> None:
    assert masks(selector, make_problem([1], scores=[[1.0, 9.0]], tied=[1])) == [[0]]


@pytest.mark.parametrize("selector", [Independent(), Common()])
def test_a_layer_that_does_not_fit_is_passed_over(selector: Selector, make_problem: Make) -> None:
    assert masks(selector, make_problem([2], scores=[[9.0, 2.0, 1.0]], each=[3, 1, 1])) == [[1, 2]]


@pytest.mark.parametrize("selector", [Independent(), Common()])
def test_without_scores_the_error_names_the_selector(selector: Selector, make_problem: Make) -> None:
    with pytest.raises(SelectionError, match=type(selector).__name__.lower()):
        masks(selector, make_problem([1]))
