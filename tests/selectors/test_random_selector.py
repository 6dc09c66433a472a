from __future__ import annotations

from collections.abc import Callable

from fedstrata.domain.ids import ClientId
from fedstrata.domain.selection import SelectionProblem
from fedstrata.selectors.random import Random

Make = Callable[..., SelectionProblem]


def test_one_draw_is_common_to_all_and_smaller_budgets_take_subsets(make_problem: Make) -> None:
    for seed in range(10):
        masks = Random().select(make_problem([1, 3, 3], seed=seed), {})[0].masks
        small, large, twin = (masks[ClientId(f"c{i}")] for i in range(3))
        assert small < large == twin
        assert (len(small), len(large)) == (1, 3)


def test_every_layer_is_drawn_sooner_or_later(make_problem: Make) -> None:
    drawn = [Random().select(make_problem([1], seed=seed), {})[0].masks[ClientId("c0")] for seed in range(60)]
    assert frozenset().union(*drawn) == frozenset(range(6))


def test_the_problem_s_stream_is_not_advanced(make_problem: Make) -> None:
    problem = make_problem([2])
    before = problem.rng.bit_generator.state
    Random().select(problem, {})
    assert problem.rng.bit_generator.state == before
