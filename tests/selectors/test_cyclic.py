from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedstrata.domain.ids import ClientId
from fedstrata.domain.selection import SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.cyclic import Cyclic

Make = Callable[..., SelectionProblem]
Masks = dict[str, list[int]]


def _play(selector: Cyclic, problems: Sequence[SelectionProblem]) -> list[Masks]:
    """Return every client's mask in every round; the memory passes through JSON in between."""
    state, played = selector.init(problems[0].layers), []
    for problem in problems:
        selection, state = selector.select(problem, state)
        played.append({str(c): sorted(mask) for c, mask in selection.masks.items()})
        state = json.loads(json.dumps(state))
        assert len(state["queue"]) <= 2 * len(problem.layers)
    return played


def _rounds(make_problem: Make, budgets: Sequence[float], rounds: int, **more: object) -> list[SelectionProblem]:
    return [make_problem(budgets, round=t, seed=t, **more) for t in range(rounds)]


def test_the_window_goes_from_input_to_output_and_round_again(make_problem: Make) -> None:
    played = _play(Cyclic(), _rounds(make_problem, [2], 4, layers=5))
    assert [masks["c0"] for masks in played] == [[0, 1], [2, 3], [0, 4], [1, 2]]


def test_or_from_output_to_input(make_problem: Make) -> None:
    played = _play(Cyclic(order="descending"), _rounds(make_problem, [2], 3, layers=5))
    assert [masks["c0"] for masks in played] == [[3, 4], [1, 2], [0, 4]]


def test_all_clients_have_the_same_window_and_take_what_they_can_pay_for(make_problem: Make) -> None:
    played = _play(Cyclic(), _rounds(make_problem, [1, 3, 2], 2))
    assert played == [{"c0": [0], "c1": [0, 1, 2], "c2": [0, 1]}, {"c0": [3], "c1": [3, 4, 5], "c2": [3, 4]}]


def test_a_window_holds_for_some_rounds(make_problem: Make) -> None:
    played = _play(Cyclic(every=3), _rounds(make_problem, [2], 7, layers=4))
    assert [masks["c0"] for masks in played] == [[0, 1]] * 3 + [[2, 3]] * 3 + [[0, 1]]


def test_a_richer_client_that_comes_later_trains_the_window_and_no_more(make_problem: Make) -> None:
    first, second = make_problem([1], round=0), make_problem([4], round=1)
    assert [masks["c0"] for masks in _play(Cyclic(every=2), [first, second])] == [[0], [0]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.integers(1, 9), budget=st.integers(1, 9), order=st.sampled_from(["ascending", "descending", "random"]))
def test_equal_budgets_train_every_layer_once_in_a_cycle(
    make_problem: Make, layers: int, budget: int, order: str
) -> None:
    selector = Cyclic(order=order)  # type: ignore[arg-type]
    windows = ceil(layers / budget)
    played = [m["c0"] for m in _play(selector, _rounds(make_problem, [budget] * 2, 3 * windows, layers=layers))]
    assert {layer for mask in played[:windows] for layer in mask} == set(range(layers))
    assert all(len(mask) == min(budget, layers) for mask in played)
    counts = Counter(layer for mask in played for layer in mask)
    assert max(counts.values()) - min(counts.values()) <= (1 if order != "random" else 2)


def test_a_random_order_is_new_in_every_cycle_and_the_same_for_the_same_seeds(make_problem: Make) -> None:
    problems = _rounds(make_problem, [1], 18)
    order = [masks["c0"][0] for masks in _play(Cyclic(order="random"), problems)]
    cycles = [order[:6], order[6:12], order[12:]]
    assert all(sorted(cycle) == list(range(6)) for cycle in cycles)
    assert len({tuple(cycle) for cycle in cycles}) == 3
    assert [masks["c0"][0] for masks in _play(Cyclic(order="random"), problems)] == order


def test_a_layer_that_nobody_can_pay_for_loses_its_turn(make_problem: Make) -> None:
    problems = _rounds(make_problem, [1], 4, layers=4, each=[1, 5, 1, 1])
    assert [masks["c0"] for masks in _play(Cyclic(), problems)] == [[0], [2], [3], [0]]
    rich = make_problem([5], round=2, layers=4, each=[1, 5, 1, 1])
    assert [masks["c0"] for masks in _play(Cyclic(), [*problems[:2], rich])] == [[0], [2], [0, 3]]


def test_a_client_takes_what_it_can_pay_for_of_a_richer_client_s_window(make_problem: Make) -> None:
    problems = _rounds(make_problem, [1, 6], 1, layers=4, each=[5, 1, 9, 1])
    assert _play(Cyclic(), problems) == [{"c0": [1], "c1": [0, 1]}]


def test_where_nobody_can_pay_for_a_layer_nobody_trains_one_and_the_order_waits(make_problem: Make) -> None:
    poor, rich = make_problem([0.0], round=0), make_problem([2.0], round=1)
    assert _play(Cyclic(), [poor, rich]) == [{"c0": []}, {"c0": [0, 1]}]


def test_tied_layers_have_no_turn(make_problem: Make) -> None:
    played = _play(Cyclic(), _rounds(make_problem, [2], 3, layers=5, tied=[1]))
    assert [masks["c0"] for masks in played] == [[0, 2], [3, 4], [0, 2]]


def test_with_no_limit_a_window_is_everything(make_problem: Make) -> None:
    played = _play(Cyclic(), _rounds(make_problem, [inf], 2, layers=3))
    assert [masks["c0"] for masks in played] == [[0, 1, 2]] * 2


def test_who_takes_part_does_not_change_a_random_order(make_problem: Make) -> None:
    problem = make_problem([2, 2, 2], seed=5)
    one = replace(problem, profiles={ClientId("c1"): problem.profiles[ClientId("c1")]})
    selector = Cyclic(order="random")
    many, alone = (selector.select(p, selector.init(p.layers))[0].masks for p in (problem, one))
    assert many[ClientId("c1")] == alone[ClientId("c1")]


def test_a_window_of_less_than_a_round_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"selector 'cyclic' has every: 0; it must be 1 or more"):
        Cyclic(every=0)
