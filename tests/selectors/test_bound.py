"""The selector of least measured bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.selection import ClientProfile, SelectionProblem, check
from fedstrata.domain.theory import terms_of
from fedstrata.errors import ConfigError, SelectionError
from fedstrata.selectors.bound import Bound, moments
from fedstrata.selectors.consensus import Consensus
from fedstrata.selectors.ends import Top
from fedstrata.selectors.periodic import Periodic
from fedstrata.selectors.protocol import sketch_of
from fedstrata.selectors.warmup import Warmup
from fedstrata.server.theory import moments_of


def problem(sketches: np.ndarray, rows: list[int], budget: float = 1) -> SelectionProblem:
    layers = sketches.shape[1]
    blocks = (
        Layer(LayerName(f"h.{i}"), Role.LAYER, (TensorSpec(TensorName(f"h.{i}.w"), (2,)),)) for i in range(layers)
    )
    profiles = {ClientId(f"c{i}"): ClientProfile(n, Cost.limits(layers=budget)) for i, n in enumerate(rows)}
    prices, rng = counted(layers).table, np.random.default_rng(0)
    return SelectionProblem(0, LayerMap(tuple(blocks)), profiles, None, lambda _: prices, rng, sketches)


def chosen(case: SelectionProblem, **options: float) -> list[list[int]]:
    selection, _ = Bound(**options).select(case, {})  # type: ignore[arg-type]
    check(selection, case)
    return [sorted(mask) for mask in selection.masks.values()]


def test_clients_that_agree_train_different_layers() -> None:
    """Gradients are the same, so nobody's weights are wrong, and two layers need not be missing but one."""
    case = problem(np.array([[[1.0], [1.0]], [[1.0], [1.0]]]), [5, 5])
    assert sorted(chosen(case)) == [[0], [1]]


def test_clients_that_differ_train_the_same_layer() -> None:
    """G = (4, 1) and kappa^2 = (9, 9): apart the bound is 9 + 9, together it is the 1 of the missing layer."""
    case = problem(np.array([[[5.0], [4.0]], [[-1.0], [-2.0]]]), [5, 5])
    selection, _ = Bound().select(case, {})
    assert chosen(case) == [[0], [0]]
    assert selection.certificate is not None
    assert (selection.certificate.objective, selection.certificate.gap) == pytest.approx((-1.0, 0.0))


def test_a_client_with_little_data_leaves_a_layer_that_it_would_spoil_alone() -> None:
    """With a tenth of the rows it alone would cost 9 * kappa^2 = 0.81; the layer that nobody trains costs G = 0.5."""
    sketches = (np.sqrt(0.5) + np.array([0.1, -0.9]))[:, None, None]
    assert moments(sketches, np.array([0.9, 0.1]))[1] == pytest.approx([0.09])
    case = problem(sketches, [9, 1])
    poor = {**case.profiles, ClientId("c0"): ClientProfile(9, Cost.limits(layers=0))}
    assert chosen(replace(case, profiles=poor)) == [[], []]
    assert chosen(replace(case, profiles=poor), weight=0.5) == [[], [0]]


def test_its_moments_are_those_of_the_theory() -> None:
    rng = np.random.default_rng(0)
    sketches, shares = rng.normal(size=(3, 2, 16)), np.array([0.2, 0.3, 0.5])
    found = moments(sketches, shares)
    for layer in range(2):
        wanted = moments_of(sketches[:, layer], shares, np.array([True, False, True]))
        assert (found[0][layer], found[1][layer]) == pytest.approx((wanted.gradient_sq, wanted.spread))


def test_no_other_masks_have_a_lower_bound() -> None:
    rng = np.random.default_rng(1)
    sketches, rows = rng.normal(0.4, 1.0, size=(3, 4, 16)), [3, 5, 8]
    shares = np.array(rows) / 16
    masks = chosen(problem(sketches, rows))

    def bound(masks: list[list[int]]) -> float:
        table = np.array([[layer in mask for layer in range(4)] for mask in masks])
        found = [moments_of(sketches[:, layer], shares, table[:, layer]) for layer in range(4)]
        return terms_of(found, list(shares @ table)).bound

    singles: list[list[int]] = [[], [0], [1], [2], [3]]
    assert bound(masks) == pytest.approx(min(bound([a, b, c]) for a in singles for b in singles for c in singles))


def test_layers_that_share_weights_stay_out() -> None:
    case = problem(np.array([[[1.0], [1.0]], [[1.0], [2.0]]]), [5, 5])
    tied = replace(case.layers.layers[0], tied_with=(LayerName("embed"),))
    case = replace(case, layers=LayerMap((tied, case.layers.layers[1])))
    assert chosen(case) == [[1], [1]]


def test_it_needs_sketches() -> None:
    case = problem(np.ones((2, 2, 1)), [5, 5])
    with pytest.raises(SelectionError, match="needs sketches"):
        Bound().select(replace(case, sketches=None), {})
    with pytest.raises(SelectionError, match="of every client"):
        Bound().select(replace(case, sketches=np.full((2, 2, 1), np.nan)), {})


@pytest.mark.parametrize("options", [{"sketch": 100}, {"sketch": 8}, {"weight": -1.0}, {"weight": float("inf")}])
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Bound(**options)  # type: ignore[arg-type]


def test_wrappers_ask_for_what_the_inner_selector_reads() -> None:
    wrapped = Warmup(rounds=1, inner=Periodic(every=2, inner=Bound(sketch=32)))
    assert [sketch_of(s) for s in (Bound(), wrapped, Periodic(every=2, inner=Top()), Consensus())] == [128, 32, 0, 0]
    case = problem(np.array([[[1.0], [1.0]], [[1.0], [1.0]]]), [5, 5])
    periodic = Periodic(every=2, inner=Bound())
    selection, state = periodic.select(case, periodic.init(case.layers))
    again, _ = periodic.select(replace(case, round=1, sketches=None), state)
    assert again.masks == selection.masks


def test_periodic_hands_on_the_sketches_of_those_who_are_due() -> None:
    """The first client keeps its mask and sends no sketch; the second is new, and is selected alone."""
    periodic = Periodic(every=2, inner=Bound())
    sketches = np.array([[[1.0], [2.0]], [[5.0], [1.0]]])
    case = problem(sketches, [5, 5])
    alone = replace(case, profiles={ClientId("c0"): case.profiles[ClientId("c0")]}, sketches=sketches[:1])
    first, state = periodic.select(alone, periodic.init(case.layers))
    partly = np.where(np.array([True, False])[:, None, None], np.nan, sketches)
    then, _ = periodic.select(replace(case, round=1, sketches=partly), state)
    assert first.masks == {"c0": frozenset({1})}
    assert then.masks == {"c0": frozenset({1}), "c1": frozenset({0})}
