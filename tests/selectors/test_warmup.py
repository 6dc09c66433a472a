"""Warm-up: the head alone at first, then the inner selector."""

from __future__ import annotations

import numpy as np
import pytest

from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.selection import ClientProfile, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.independent import Independent
from fedstrata.selectors.warmup import Warmup
from toys import named, toy_model

COHORT = named("a", "b")


def problem(round: int) -> SelectionProblem:
    return SelectionProblem(
        round=round,
        layers=toy_model().layers,
        profiles={ClientId(c): ClientProfile(5, Cost.limits(layers=1)) for c in COHORT},
        scores=np.array([[1.0, 3.0, 2.0], [9.0, 1.0, 1.0]]) if round >= 2 else None,
        prices=lambda _: counted(3).table,
        rng=np.random.default_rng(0),
    )


def test_nobody_is_probed_and_masks_are_empty_during_warm_up() -> None:
    selector = Warmup(2, Independent())
    state = selector.init(toy_model().layers)
    assert selector.probes(1, COHORT, state) == ()
    selection, _ = selector.select(problem(1), state)
    assert selection.masks == {"a": frozenset(), "b": frozenset()}


def test_the_inner_selector_takes_over_afterwards() -> None:
    selector = Warmup(2, Independent())
    state = selector.init(toy_model().layers)
    assert selector.probes(2, COHORT, state) == ("a", "b")
    selection, _ = selector.select(problem(2), state)
    assert selection.masks == {"a": frozenset({1}), "b": frozenset({0})}


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup rounds must be 0 or more, got -1"):
        Warmup(-1, Independent())
