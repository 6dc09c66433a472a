from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.selection import ClientProfile, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Top
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.periodic import Periodic

Make = Callable[..., SelectionProblem]
A, B = ClientId("c0"), ClientId("c1")


def test_a_mask_holds_for_the_period_and_then_follows_the_scores(make_problem: Make) -> None:
    selector = Periodic(every=2, inner=Independent())
    state = selector.init(make_problem([1]).layers)
    chosen = []
    for round in range(4):
        scores = [[float(layer == round) for layer in range(6)]]
        selection, state = selector.select(make_problem([1], scores=scores, round=round), state)
        chosen.append(sorted(selection.masks[A]))
    assert chosen == [[0], [0], [2], [2]]


def test_only_clients_without_a_valid_mask_are_probed(make_problem: Make) -> None:
    selector = Periodic(every=3, inner=Independent())
    state = selector.init(make_problem([1]).layers)
    assert selector.probes(0, [A], state) == (A,)
    _, state = selector.select(make_problem([1], scores=np.eye(1, 6)), state)
    assert selector.probes(1, [A, B], state) == (B,)
    assert selector.probes(3, [A, B], state) == (A, B)


def test_nobody_is_probed_for_a_selector_without_scores(make_problem: Make) -> None:
    selector = Periodic(every=2, inner=Top())
    assert selector.probes(0, [A, B], selector.init(make_problem([1, 1]).layers)) == ()


def test_newcomers_are_selected_on_their_own_rows_while_others_keep_their_masks(make_problem: Make) -> None:
    selector = Periodic(every=5, inner=Independent())
    _, state = selector.select(make_problem([1], scores=[[9.0, 0.0]]), selector.init(make_problem([1]).layers))
    second = make_problem([1, 1], scores=[[np.nan, np.nan], [0.0, 9.0]], round=1)
    selection, state = selector.select(second, state)
    assert selection.masks == {A: frozenset({0}), B: frozenset({1})}
    assert state["masks"] == {"c0": {"round": 0, "mask": [0]}, "c1": {"round": 1, "mask": [1]}}


def test_a_mask_that_is_no_longer_affordable_is_chosen_again(make_problem: Make) -> None:
    selector = Periodic(every=5, inner=Independent())
    problem = make_problem([2], scores=[[3.0, 2.0, 1.0]])
    _, state = selector.select(problem, selector.init(problem.layers))
    poorer = replace(problem, round=1, profiles={A: ClientProfile(10, Cost.limits(layers=1.0))})
    assert selector.select(poorer, state)[0].masks == {A: frozenset({0})}


def test_certificate_is_passed_on_only_when_everybody_was_selected(make_problem: Make) -> None:
    selector = Periodic(every=2, inner=Consensus())
    problem = make_problem([1, 1], scores=[[3.0, 2.0], [2.0, 3.0]])
    first, state = selector.select(problem, selector.init(problem.layers))
    second, _ = selector.select(replace(problem, round=1), state)
    assert first.certificate is not None
    assert second.certificate is None
    assert first.masks == second.masks


def test_memory_survives_json_and_forgets_masks_that_ran_out(make_problem: Make) -> None:
    selector = Periodic(every=2, inner=Top())
    _, state = selector.select(make_problem([2, 1]), selector.init(make_problem([1]).layers))
    again = json.loads(json.dumps(state))
    _, later = selector.select(make_problem([2], round=1), again)
    assert set(later["masks"]) == set()


def test_every_round_is_the_inner_selector(make_problem: Make) -> None:
    problem = make_problem([1, 2], scores=[[3.0, 2.0], [2.0, 3.0]])
    selector = Periodic(every=1, inner=Independent())
    state = selector.init(problem.layers)
    for round in range(3):
        selection, state = selector.select(replace(problem, round=round), state)
        assert selection.masks == Independent().select(problem, {})[0].masks


def test_a_period_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="every: 0"):
        Periodic(every=0, inner=Top())
