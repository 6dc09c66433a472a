"""Full, head only, top, bottom, both, fixed: the selectors that need no scores and no draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedstrata.domain.ids import ClientId
from fedstrata.domain.selection import SelectionProblem
from fedstrata.errors import BudgetError, LayerError
from fedstrata.selectors.ends import Both, Bottom, Full, HeadOnly, Top
from fedstrata.selectors.fixed import FixedLayers
from fedstrata.selectors.protocol import Selector

Make = Callable[..., SelectionProblem]


def masks(selector: Selector, problem: SelectionProblem) -> list[list[int]]:
    selection, _ = selector.select(problem, selector.init(problem.layers))
    return [sorted(selection.masks[client]) for client in problem.clients]


def test_full_takes_every_layer(make_problem: Make) -> None:
    assert masks(Full(), make_problem([6, 7], layers=6)) == [[0, 1, 2, 3, 4, 5]] * 2


def test_full_beyond_a_budget_says_what_to_do(make_problem: Make) -> None:
    with pytest.raises(BudgetError, match=r"client c1.*budget: unlimited"):
        masks(Full(), make_problem([6, 5], layers=6))


def test_head_only_trains_no_layer(make_problem: Make) -> None:
    assert masks(HeadOnly(), make_problem([3, 0])) == [[], []]


def test_top_is_nearest_the_output(make_problem: Make) -> None:
    assert masks(Top(), make_problem([1, 3, 9])) == [[5], [3, 4, 5], [0, 1, 2, 3, 4, 5]]


def test_bottom_is_nearest_the_input(make_problem: Make) -> None:
    assert masks(Bottom(), make_problem([1, 3, 9])) == [[0], [0, 1, 2], [0, 1, 2, 3, 4, 5]]


def test_both_takes_both_ends_also_for_small_budgets(make_problem: Make) -> None:
    assert masks(Both(), make_problem([1, 2, 3, 4])) == [[0], [0, 5], [0, 1, 5], [0, 1, 4, 5]]


def test_both_reaches_the_middle_of_an_odd_number_of_layers(make_problem: Make) -> None:
    assert masks(Both(), make_problem([4, 5], layers=5)) == [[0, 1, 3, 4], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize("selector", [Full(), HeadOnly(), Top(), Bottom(), Both(), FixedLayers("last:2")])
def test_no_mask_decides_about_the_head(selector: Selector, make_problem: Make) -> None:
    problem = make_problem([6], layers=6)
    selection, _ = selector.select(problem, selector.init(problem.layers))
    blocks = problem.layers.blocks(selection.masks[ClientId("c0")])
    assert [block.name for block in blocks if block in problem.layers.always] == ["head"]


def test_tied_layers_are_passed_over(make_problem: Make) -> None:
    problem = make_problem([2], layers=4, tied=[3])
    assert (masks(Top(), problem), masks(Both(), problem)) == ([[1, 2]], [[0, 2]])
    assert masks(Full(), make_problem([3], layers=4, tied=[3])) == [[0, 1, 2]]


def test_a_rule_of_position_stops_at_the_first_layer_that_does_not_fit(make_problem: Make) -> None:
    depth = {"each": [0] * 6, "setup": [6, 5, 4, 3, 2, 1]}
    assert masks(Top(), make_problem([2], **depth)) == [[4, 5]]
    assert masks(Bottom(), make_problem([2], **depth)) == [[]]


def test_fixed_layers_are_the_same_for_everybody(make_problem: Make) -> None:
    assert masks(FixedLayers("0, last:2"), make_problem([3, 5])) == [[0, 4, 5]] * 2


def test_fixed_layers_beyond_a_budget_are_an_error(make_problem: Make) -> None:
    with pytest.raises(BudgetError, match="name fewer layers"):
        masks(FixedLayers("last:2"), make_problem([1]))


def test_fixed_layers_that_do_not_exist_are_an_error_before_the_first_round(make_problem: Make) -> None:
    with pytest.raises(LayerError):
        FixedLayers("9").init(make_problem([1]).layers)
