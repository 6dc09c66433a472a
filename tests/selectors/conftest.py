from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike

from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import ClientProfile, SelectionProblem

MakeProblem = Callable[..., SelectionProblem]


def _layer(index: int, tied: bool) -> Layer:
    spec = TensorSpec(TensorName(f"blocks.{index}.w"), (2,))
    partners = (LayerName("embeddings"),) if tied else ()
    return Layer(LayerName(f"blocks.{index}"), Role.LAYER, (spec,), tied_with=partners)


def _problem(
    budgets: Sequence[float],
    *,
    layers: int = 6,
    scores: ArrayLike | None = None,
    tied: Sequence[int] = (),
    round: int = 0,
    seed: int = 0,
    each: ArrayLike | None = None,
    setup: ArrayLike | None = None,
) -> SelectionProblem:
    """Return a problem with clients c0, c1, ... and, by default, layer-count prices.

    ``each`` and ``setup``, shape ``[layers]``, replace the price of a layer and of a lowest layer.
    """
    table = None if scores is None else np.array(scores, dtype=np.float64)
    count = layers if table is None else table.shape[1]
    head = Layer(LayerName("head"), Role.ALWAYS, (TensorSpec(TensorName("head.w"), (3,)),))
    layer_map = LayerMap(tuple(_layer(i, i in tied) for i in range(count)), (head,))
    profiles = {ClientId(f"c{i}"): ClientProfile(10, Cost.limits(layers=budget)) for i, budget in enumerate(budgets)}

    plain = counted(count).table
    prices = Prices(
        ("layers",),
        plain.base,
        plain.setup if setup is None else np.array([setup], dtype=np.float64),
        plain.each if each is None else np.array([each], dtype=np.float64),
    )
    return SelectionProblem(round, layer_map, profiles, table, lambda _: prices, np.random.default_rng(seed))


@pytest.fixture
def make_problem() -> MakeProblem:
    return _problem
