"""No selector gives a client a layer that it refuses, and what is best without them is still found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from every_kind import NEEDED
from fedstrata.config.catalog import CATALOG, build
from fedstrata.costs.layer_count import counted
from fedstrata.costs.refusing import Refusing, within
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import ClientProfile, SelectionProblem, check
from fedstrata.errors import BudgetError
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.protocol import Selector
from fedstrata.solvers.objective import Objective

INSISTS = {"full", "fixed"}
"""Kinds that give every client the same layers, or say who cannot have them."""
MORE: list[Mapping[str, Any]] = [{"kind": "consensus", "rho": rho} for rho in (0.0, -1.0, 5.0, inf)]
SPECS = [{"kind": kind, **NEEDED.get(("selector", kind), {})} for kind in CATALOG["selector"]] + MORE
UNITS = ("flops", "bytes_up", "bytes_peak", "bytes_peak")


def built(spec: Mapping[str, Any]) -> Selector:
    selector: Selector = build("selector", spec, ("selector",))
    return selector


class Several:
    """Random prices in several units, two of them with set-ups, and a count of layers; the same for equal seeds."""

    def __init__(self, layers: int, seed: int) -> None:
        self._layers, self._seed = layers, seed

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        rng = np.random.default_rng([self._seed, int(client[1:])])
        each = rng.choice([0.0, 1.0, 2.0], size=(len(UNITS), self._layers)) * rng.random((len(UNITS), 1))
        setup = rng.choice([0.0, 1.0], size=(len(UNITS), self._layers))
        table = Prices(UNITS, rng.random(len(UNITS)), setup, each)
        layers = counted(self._layers).table
        return Prices(
            (*UNITS, "layers"),
            np.append(table.base, 0.0),
            np.vstack([table.setup, layers.setup]),
            np.vstack([table.each, layers.each]),
        )


def layer_map(layers: int) -> LayerMap:
    def block(name: str, role: Role) -> Layer:
        return Layer(LayerName(name), role, (TensorSpec(TensorName(f"{name}.w"), (2,)),))

    return LayerMap(tuple(block(f"h.{i}", Role.LAYER) for i in range(layers)), (block("head", Role.ALWAYS),))


def problem(layers: int, refused: Mapping[int, frozenset[int]], *, seed: int, several: bool) -> SelectionProblem:
    """Return a problem with random scores, sketches and budgets, in which client ``ci`` refuses ``refused[i]``."""
    rng = np.random.default_rng(seed)
    inner = Several(layers, seed) if several else counted(layers)
    pricing = Refusing(inner, {ClientId(f"c{i}"): layers_ for i, layers_ in refused.items()})
    profiles = {}
    for i, unwanted in refused.items():
        budget = Cost.limits(layers=float(rng.choice([1.0, 2.0, 3.0, inf])))
        if several:
            limits = {unit: 3 * rng.random() + 1 for unit in rng.permutation(UNITS)[:2]}
            budget = Cost.limits(**limits)
        profiles[ClientId(f"c{i}")] = ClientProfile(5, within(budget, layers) if unwanted else budget)
    scores = rng.normal(0.5, 1.0, size=(len(refused), layers))
    sketches = np.random.default_rng(seed + 1).normal(size=(len(refused), layers, 16))
    return SelectionProblem(
        0, layer_map(layers), profiles, scores, lambda c: pricing.prices(c, ClientRound()), rng, sketches
    )


def refusals(layers: int, clients: int) -> st.SearchStrategy[dict[int, frozenset[int]]]:
    one = st.frozensets(st.integers(0, layers - 1), max_size=layers)
    return st.lists(one, min_size=clients, max_size=clients).map(lambda found: dict(enumerate(found)))


def test_every_kind_of_the_catalog_is_here() -> None:
    assert {spec["kind"] for spec in SPECS} == set(CATALOG["selector"])


@pytest.mark.parametrize("several", [False, True], ids=["layers", "several units"])
@pytest.mark.parametrize("spec", [s for s in SPECS if s["kind"] not in INSISTS], ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), layers=st.integers(1, 6), clients=st.integers(1, 4), seed=st.integers(0, 1000))
def test_no_mask_holds_a_refused_layer(
    spec: Mapping[str, Any], several: bool, data: st.DataObject, layers: int, clients: int, seed: int
) -> None:
    refused = data.draw(refusals(layers, clients))
    case, selector = problem(layers, refused, seed=seed, several=several), built(spec)
    selection, _ = selector.select(case, selector.init(case.layers))
    check(selection, case)
    assert [selection.masks[ClientId(f"c{i}")] & refused[i] for i in refused] == [frozenset()] * clients


@pytest.mark.parametrize("kind", sorted(INSISTS))
def test_selectors_that_give_everybody_the_same_say_who_cannot_have_it(kind: str) -> None:
    selector = built({"kind": kind, **NEEDED.get(("selector", kind), {})})
    case = problem(4, {0: frozenset(), 1: frozenset({0})}, seed=3, several=False)
    with pytest.raises(BudgetError, match=f"selector '{kind}' needs .* of client c[01]"):
        selector.select(case, selector.init(case.layers))
    free = {c: ClientProfile(5, Cost.unlimited()) for c in case.clients}
    willing = SelectionProblem(0, case.layers, free, None, lambda _: counted(4).table, case.rng)
    check(selector.select(willing, {})[0], willing)


def test_a_selector_that_stops_at_what_it_cannot_pay_stops_at_a_refused_layer() -> None:
    """Top and bottom fill their masks in order and stop; common passes over what does not fit."""
    case = problem(4, {0: frozenset({2})}, seed=1, several=False)
    case = SelectionProblem(
        0, case.layers, {case.clients[0]: ClientProfile(5, Cost.limits(layers=4))}, case.scores, case.prices, case.rng
    )
    masks = {
        kind: built({"kind": kind}).select(case, {})[0].masks[case.clients[0]] for kind in ("top", "bottom", "common")
    }
    assert masks == {"top": {3}, "bottom": {0, 1}, "common": {0, 1, 3}}


def allowed(case: SelectionProblem, client: ClientId, refused: frozenset[int]) -> list[NDArray[np.bool_]]:
    layers = range(len(case.layers))
    sets = [frozenset(m) for size in range(len(layers) + 1) for m in combinations(layers, size)]
    fine = [mask for mask in sets if not mask & refused and case.affordable(client, mask)]
    return [np.isin(layers, sorted(mask)) for mask in fine]


@pytest.mark.parametrize("several", [False, True], ids=["layers", "several units"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 2.0, -1.0])
@settings(max_examples=15, deadline=None)
@given(refused=refusals(4, 3), seed=st.integers(0, 1000))
def test_consensus_is_as_good_as_the_best_of_all_masks_without_refused_layers(
    rho: float, several: bool, refused: dict[int, frozenset[int]], seed: int
) -> None:
    case = problem(4, refused, seed=seed, several=several)
    scores = case.required_scores("test")
    positive = scores[scores > 0]
    weight = abs(rho) * float(np.median(positive)) / 3 if positive.size else 0.0
    worth = Objective(scores, weight if rho > 0 else 0.0, weight if rho < 0 else 0.0)
    choices = [allowed(case, ClientId(f"c{i}"), refused[i]) for i in refused]
    best = max(worth.value(np.array(masks)) for masks in product(*choices))
    certificate = Consensus(rho=rho).select(case, {})[0].certificate
    assert certificate is not None
    assert certificate.gap <= 1e-6
    assert certificate.objective == pytest.approx(best, abs=1e-9)
