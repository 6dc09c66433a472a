"""Layer-wise averaging, by numbers that a reader can check."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import Update, Weights

A, B = TensorName("a"), TensorName("b")


def update(name: str, rows: int, **deltas: float | Tensor) -> Update:
    tensors = {TensorName(n): torch.as_tensor(d, dtype=torch.float32).reshape(-1) for n, d in deltas.items()}
    return Update(ClientId(name), 0, frozenset(), tensors, rows, 1, 0.0, 0.0, 0.0)


def weights(**values: float) -> dict[TensorName, Tensor]:
    return {TensorName(n): torch.tensor([v]) for n, v in values.items()}


def apply(start: Weights, *updates: Update, server_lr: float = 1.0) -> Weights:
    aggregator = LayerwiseMean(server_lr)
    return aggregator.apply(start, iter(updates), aggregator.init(start, LayerMap(())))[0]


def test_each_layer_is_averaged_over_those_who_trained_it() -> None:
    out = apply(weights(a=0.0, b=0.0), update("x", 1, a=3.0), update("y", 3, a=7.0, b=5.0))
    assert out[A].item() == (1 * 3 + 3 * 7) / 4
    assert out[B].item() == 5.0


def test_layers_that_only_other_clients_trained_are_kept() -> None:
    """The released code keeps only the tensors of the first client's update: sets {a}, {a, b} lose b."""
    out = apply(weights(a=0.0, b=0.0), update("x", 1, a=1.0), update("y", 1, a=1.0, b=2.0))
    assert out[B].item() == 2.0


def test_a_layer_nobody_trained_is_the_same_object() -> None:
    start = weights(a=0.1, b=0.2)
    assert apply(start, update("x", 1, a=1.0))[B] is start[B]


def test_no_update_changes_nothing() -> None:
    start = weights(a=0.1)
    assert apply(start) == start


def test_the_input_is_not_changed() -> None:
    start, sent = weights(a=1.0), update("x", 2, a=3.0)
    apply(start, sent, update("y", 2, a=5.0))
    assert start[A].item() == 1.0
    assert sent.deltas[A].item() == 3.0


def test_the_server_rate_scales_the_mean_delta() -> None:
    assert apply(weights(a=1.0), update("x", 5, a=4.0), server_lr=0.5)[A].item() == 3.0


def test_full_masks_are_fedavg_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    start = {A: torch.randn(50, generator=generator)}
    updates = [update(str(i), 3 + i, a=torch.randn(50, generator=generator)) for i in range(4)]
    total = torch.zeros(50)
    for u in updates:
        total = torch.add(total, u.deltas[A], alpha=u.num_examples)
    fedavg = start[A] + total / sum(u.num_examples for u in updates)
    assert torch.equal(apply(start, *updates)[A], fedavg)


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(-10, 10, width=32)), min_size=1, max_size=6), st.randoms())
def test_the_order_of_clients_does_not_matter(sent: list[tuple[int, float]], random: object) -> None:
    updates = [update(str(i), rows, a=delta) for i, (rows, delta) in enumerate(sent)]
    shuffled = list(updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    mean = math.fsum(r * d for r, d in sent) / sum(r for r, _ in sent)
    for order in (updates, shuffled):
        assert apply(weights(a=0.0), *order)[A].item() == pytest.approx(mean, rel=1e-4, abs=1e-5)


def test_updates_are_consumed_once_and_as_they_come() -> None:
    alive: list[str] = []

    def stream() -> object:
        for name in "xyz":
            alive.append(name)
            yield update(name, 1, a=1.0)

    aggregator = LayerwiseMean()
    start = weights(a=0.0)
    out, _ = aggregator.apply(start, stream(), aggregator.init(start, LayerMap(())))  # type: ignore[arg-type]
    assert alive == ["x", "y", "z"]
    assert out[A].item() == 1.0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_cannot_move_the_model_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="server_lr must be a positive number"):
        LayerwiseMean(rate)
