"""A probe's sketches are those of the gradients that it takes, whatever the batches and the statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedstrata.client.probe import probe
from fedstrata.domain.count_sketch import Hashing, sketched
from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import Statistic
from gradients import explicit
from toys import BLOCKS, toy_clients, toy_model

HASHING = Hashing(11, 32)
CLIENTS = toy_clients({"a": 12, "b": 6})


def sketches(client: str, *, batch_size: int = 4, statistics: frozenset[Statistic]) -> np.ndarray:
    own = CLIENTS[ClientId(client)]
    model = toy_model()
    found, _ = probe(
        model,
        model.weights(),
        rows=own.rows,
        indices=own.train,
        batch_size=batch_size,
        statistics=statistics,
        sketch=HASHING,
    )
    return np.array([stats.sketch for stats in found])


@pytest.mark.parametrize("statistic", Statistic)
@pytest.mark.parametrize("batch_size", [3, 32])
def test_they_are_the_sketches_of_the_mean_gradients(statistic: Statistic, batch_size: int) -> None:
    found = sketches("a", batch_size=batch_size, statistics=frozenset({statistic}))
    gradients, _ = explicit(toy_model(), CLIENTS)
    for layer, block in enumerate(toy_model().layers):
        parts = np.split(gradients[layer][0], np.cumsum([spec.elements for spec in block.tensors])[:-1])
        wanted = sum(sketched(part, spec.name, HASHING) for part, spec in zip(parts, block.tensors, strict=True))
        np.testing.assert_allclose(found[layer], wanted, rtol=1e-4, atol=1e-7)


def test_they_have_the_same_bits_twice_and_are_float32() -> None:
    one, other = (sketches("a", statistics=frozenset({Statistic.NORM})) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, one.astype(np.float32))


def test_nobody_sends_what_nobody_asked_for() -> None:
    model, own = toy_model(), CLIENTS[ClientId("a")]
    found, _ = probe(
        model,
        model.weights(),
        rows=own.rows,
        indices=own.train,
        batch_size=4,
        statistics=frozenset({Statistic.NORM}),
    )
    assert [stats.sketch for stats in found] == [None] * BLOCKS


def test_other_statistics_have_the_same_bits_with_and_without() -> None:
    model, own = toy_model(), CLIENTS[ClientId("a")]
    found = []
    for sketch in (None, HASHING):
        stats, loss = probe(
            model,
            model.weights(),
            rows=own.rows,
            indices=torch.flip(own.train, (0,)),
            batch_size=4,
            statistics=frozenset(Statistic),
            sketch=sketch,
        )
        found.append(([one.tensors for one in stats], loss))
    assert found[0] == found[1]
