from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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


def test_a_seed_s_shared_order_is_what_it_was(make_problem: Make) -> None:
    """Runs that have begun depend on it."""
    masks = [Random().select(make_problem([1], seed=seed), {})[0].masks[ClientId("c0")] for seed in range(6)]
    assert [min(mask) for mask in masks] == [3, 4, 3, 2, 1, 1]


def test_independent_draws_differ_between_clients_and_rounds(make_problem: Make) -> None:
    selections = [Random(shared=False).select(make_problem([2] * 6, seed=seed), {})[0].masks for seed in range(3)]
    assert all(len(mask) == 2 for masks in selections for mask in masks.values())
    assert all(len(set(masks.values())) > 1 for masks in selections)
    assert len({tuple(masks.values()) for masks in selections}) == 3


def test_independent_draws_are_uniform(make_problem: Make) -> None:
    masks = Random(shared=False).select(make_problem([1] * 600, layers=3), {})[0].masks
    counts = [sum(mask == {layer} for mask in masks.values()) for layer in range(3)]
    assert all(abs(count - 200) < 5 * (600 * 2 / 9) ** 0.5 for count in counts)


def test_an_independent_draw_does_not_depend_on_who_else_takes_part(make_problem: Make) -> None:
    problem = make_problem([2, 2, 2], seed=1)
    alone = replace(problem, profiles={ClientId("c1"): problem.profiles[ClientId("c1")]})
    many, one = (Random(shared=False).select(p, {})[0].masks for p in (problem, alone))
    assert many[ClientId("c1")] == one[ClientId("c1")]
