"""What every selector owes its callers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every_kind import every
from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import ClientProfile, SelectionProblem, check
from fedstrata.errors import BudgetError, SelectionError
from fedstrata.selectors.ends import Full
from fedstrata.selectors.fixed import FixedLayers
from fedstrata.selectors.protocol import Selector, chooses

SELECTORS: list[Selector] = every(
    "selector",
    *({"kind": "consensus", "rho": rho} for rho in (0.0, inf, -1.0)),
    {"kind": "periodic", "every": 2, "inner": "bound"},
    {"kind": "periodic", "every": 3, "inner": "random"},
    {"kind": "warmup", "rounds": 1, "inner": "top"},
    {"kind": "random", "shared": False},
    {"kind": "cyclic", "every": 2, "order": "random"},
    {"kind": "fixed", "layers": "none"},
)
WITHIN_ANY_BUDGET = [s for s in SELECTORS if chooses(s) != "all" and s != FixedLayers("0")]


def reads_scores(selector: Selector) -> bool:
    """Return whether a selector asks for scores in the first round of a run."""
    case = problem([5.0], 5)
    return selector.probes(0, case.clients, selector.init(case.layers)) != ()


def problem(
    budgets: Sequence[float],
    layers: int,
    *,
    ties: bool = False,
    tied: Sequence[int] = (),
    seed: int = 0,
    prices: Prices | None = None,
) -> SelectionProblem:
    """Return a problem with random scores (or equal ones) and layer-count prices."""
    rng = np.random.default_rng(seed)
    layer_map = LayerMap(
        tuple(
            Layer(
                LayerName(f"h.{i}"),
                Role.LAYER,
                (TensorSpec(TensorName(f"h.{i}.w"), (2,)),),
                tied_with=(LayerName("embed"),) if i in tied else (),
            )
            for i in range(layers)
        ),
        (Layer(LayerName("head"), Role.ALWAYS, (TensorSpec(TensorName("head.w"), (3,)),)),),
    )
    profiles = {ClientId(f"c{i}"): ClientProfile(5, Cost.limits(layers=b)) for i, b in enumerate(budgets)}
    scores = np.ones((len(budgets), layers)) if ties else rng.normal(0.5, 1.0, size=(len(budgets), layers))

    sketches = np.repeat(scores[:, :, None], 4, axis=2) + (0.0 if ties else rng.normal(size=(*scores.shape, 4)))
    return SelectionProblem(0, layer_map, profiles, scores, lambda _: prices or counted(layers).table, rng, sketches)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_every_selector_runs_and_keeps_the_contract(selector: Selector) -> None:
    case = problem([9.0, inf, 5.0], 5)
    selection, _ = selector.select(case, selector.init(case.layers))
    check(selection, case)
    assert tuple(selection.masks) == case.clients


@pytest.mark.parametrize("selector", WITHIN_ANY_BUDGET, ids=repr)
@settings(max_examples=15, deadline=None)
@given(
    budgets=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, inf]), min_size=1, max_size=5),
    layers=st.integers(1, 6),
    ties=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_masks_are_known_and_affordable(
    selector: Selector, budgets: list[float], layers: int, ties: bool, seed: int
) -> None:
    case = problem(budgets, layers, ties=ties, seed=seed)
    selection, _ = selector.select(case, selector.init(case.layers))
    check(selection, case)


def price_list(layers: int, rng: np.random.Generator) -> Prices:
    """Return random prices in four units, one of them with two rows; some layers are free in some."""
    units = ("flops", "bytes_up", "bytes_peak", "bytes_peak", "seconds")
    each = rng.choice([0.0, 1.0, 2.0, 3.7], size=(5, layers)) * rng.random((5, 1))
    setup = rng.choice([0.0, 1.0, 5.0], size=(5, layers)) * rng.random((5, 1))
    return Prices(units, rng.random(5), setup, each)


@pytest.mark.parametrize("selector", WITHIN_ANY_BUDGET, ids=repr)
@given(clients=st.integers(1, 5), layers=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_masks_are_affordable_in_every_unit_at_once(selector: Selector, clients: int, layers: int, seed: int) -> None:
    case = problem([inf] * clients, layers, seed=seed)
    rng = np.random.default_rng(seed)
    lists = {c: price_list(layers, rng) for c in case.clients}
    budgets = {}
    for client in case.clients:
        some = rng.permutation(["flops", "bytes_up", "bytes_peak", "seconds"])[: rng.integers(0, 5)]
        least = dict(lists[client].of(frozenset()).items())
        budgets[client] = Cost.limits(**{unit: least[unit] + 4 * rng.random() for unit in some})
    case = replace(
        case, prices=lists.__getitem__, profiles={c: ClientProfile(5, budget) for c, budget in budgets.items()}
    )
    check(selector.select(case, selector.init(case.layers))[0], case)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_same_problem_and_state_same_answer(selector: Selector) -> None:
    case = problem([5.0, 5.0, 6.0], 5)
    state = selector.init(case.layers)
    assert selector.select(case, state) == selector.select(case, state)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_input_is_not_mutated(selector: Selector) -> None:
    case = problem([5.0, 5.0], 5)
    state = selector.init(case.layers)
    scores, memory = deepcopy(case.scores), deepcopy(state)
    stream, profiles = case.rng.bit_generator.state, dict(case.profiles)
    selector.select(case, state)
    np.testing.assert_array_equal(case.scores, scores)
    assert (state, case.rng.bit_generator.state, dict(case.profiles)) == (memory, stream, profiles)


@pytest.mark.parametrize("selector", WITHIN_ANY_BUDGET, ids=repr)
def test_zero_budget_is_an_empty_mask(selector: Selector) -> None:
    case = problem([0.0, 0.0], 4)
    assert set(selector.select(case, selector.init(case.layers))[0].masks.values()) == {frozenset()}


@pytest.mark.parametrize("selector", [Full(), FixedLayers("0")], ids=repr)
def test_selectors_that_cannot_shrink_say_so(selector: Selector) -> None:
    with pytest.raises(BudgetError, match="client c1"):
        selector.select(problem([9.0, 0.0], 4), {})


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_one_client_and_one_layer(selector: Selector) -> None:
    case = problem([1.0], 1, ties=True)
    check(selector.select(case, selector.init(case.layers))[0], case)


@pytest.mark.parametrize("selector", [s for s in SELECTORS if s != FixedLayers("0")], ids=repr)
def test_tied_layers_are_never_selected(selector: Selector) -> None:
    case = problem([6.0, 6.0], 6, tied=[0, 5])
    check(selector.select(case, selector.init(case.layers))[0], case)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_the_head_is_trained_under_every_selector(selector: Selector) -> None:
    case = problem([5.0, 5.0], 5)
    for mask in selector.select(case, selector.init(case.layers))[0].masks.values():
        assert case.layers.blocks(mask)[-1].name == "head"


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_state_survives_json_and_the_next_round_runs_on_it(selector: Selector) -> None:
    case = problem([5.0, 5.0], 5)
    _, state = selector.select(case, selector.init(case.layers))
    restored = json.loads(json.dumps(state))
    later = replace(case, round=1)
    assert selector.select(later, restored) == selector.select(later, state)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_missing_scores_are_a_clear_error(selector: Selector) -> None:
    if not reads_scores(selector):
        return
    case = replace(problem([1.0, 1.0], 3), scores=None, sketches=None)
    with pytest.raises(SelectionError, match=r"needs s(cores|ketches)"):
        selector.select(case, selector.init(case.layers))


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_who_is_not_probed_is_not_needed(selector: Selector) -> None:
    case = problem([5.0, 5.0, 5.0], 5)
    state = selector.init(case.layers)
    asked = selector.probes(0, case.clients, state)
    assert set(asked) <= set(case.clients)
    if not asked:
        check(selector.select(replace(case, scores=None), state)[0], case)
