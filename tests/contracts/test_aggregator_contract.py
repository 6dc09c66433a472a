"""What every aggregator owes its callers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import pytest
import torch
from torch import Tensor

from every_kind import every
from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.aggregators.protocol import Aggregator
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.wire.messages import Update
from toys import copy_of, same_bits, toy_layers, toy_model

AGGREGATORS: list[Aggregator] = every("aggregator")
EVERY = pytest.mark.parametrize("aggregator", AGGREGATORS, ids=repr)


def update(client: str, mask: Mask, *, rows: int, seed: int, dtype: torch.dtype = torch.float32) -> Update:
    generator = torch.Generator().manual_seed(seed)
    tensors = toy_layers(toy_model().module).tensors_of(mask)
    deltas = {t.name: torch.randn(t.shape, generator=generator, dtype=torch.float64).to(dtype) for t in tensors}
    return Update(ClientId(client), 0, mask, deltas, rows, 1, 1.0, 1.0, 0.0)


def mixed(dtype: torch.dtype = torch.float32) -> list[Update]:
    """Three clients, of which the first trains the least: layer 1 is trained by nobody."""
    masks: Mapping[str, Mask] = {"a": frozenset(), "b": frozenset({0, 2}), "c": frozenset({2})}
    return [update(c, m, rows=3 + 4 * i, seed=i, dtype=dtype) for i, (c, m) in enumerate(masks.items())]


def start() -> tuple[dict[TensorName, Tensor], LayerMap]:
    model = toy_model()
    return model.weights(), model.layers


@EVERY
def test_the_union_of_all_layers_moves_not_the_first_clients_alone(aggregator: Aggregator) -> None:
    weights, layers = start()
    after, _ = aggregator.apply(weights, mixed(), aggregator.init(weights, layers))
    moved = {n.rsplit(".", 1)[0] for n in weights if not torch.equal(after[n], weights[n])}
    assert moved == {"blocks.0", "blocks.2", "head"}


@EVERY
def test_what_nobody_trained_is_the_same_object(aggregator: Aggregator) -> None:
    weights, layers = start()
    after, _ = aggregator.apply(weights, mixed(), aggregator.init(weights, layers))
    assert all(after[n] is weights[n] for n in weights if n.startswith("blocks.1"))


@EVERY
def test_the_weights_that_come_in_are_not_changed(aggregator: Aggregator) -> None:
    weights, layers = start()
    before = copy_of(weights)
    aggregator.apply(weights, mixed(), aggregator.init(weights, layers))
    assert same_bits(weights, before)


@EVERY
def test_updates_are_not_changed(aggregator: Aggregator) -> None:
    weights, layers = start()
    updates = mixed()
    before = [copy_of(u.deltas) for u in updates]
    aggregator.apply(weights, updates, aggregator.init(weights, layers))
    assert all(same_bits(u.deltas, b) for u, b in zip(updates, before, strict=True))


@EVERY
def test_the_order_of_clients_does_not_matter_in_float64(aggregator: Aggregator) -> None:
    weights, layers = start()
    wide = {n: t.double() for n, t in weights.items()}
    results = [
        aggregator.apply(wide, order, aggregator.init(wide, layers))[0] for order in permutations(mixed(torch.float64))
    ]
    for other in results[1:]:
        assert all(torch.allclose(results[0][n], other[n], rtol=0, atol=1e-13) for n in wide)


@EVERY
def test_no_update_changes_nothing(aggregator: Aggregator) -> None:
    weights, layers = start()
    after, _ = aggregator.apply(weights, iter(()), aggregator.init(weights, layers))
    assert after.keys() == weights.keys()
    assert all(after[n] is weights[n] for n in weights)


@EVERY
def test_the_stream_is_consumed_once_and_one_at_a_time(aggregator: Aggregator) -> None:
    weights, layers = start()
    taken: list[str] = []

    def stream() -> Iterator[Update]:
        for each in mixed():
            taken.append(each.client)
            yield each

    aggregator.apply(weights, stream(), aggregator.init(weights, layers))
    assert taken == ["a", "b", "c"]


@EVERY
def test_one_client_is_its_own_average(aggregator: Aggregator) -> None:
    weights, layers = start()
    alone = update("a", frozenset({0}), rows=7, seed=1)
    after, _ = aggregator.apply(weights, [alone], aggregator.init(weights, layers))
    for name, delta in alone.deltas.items():
        assert torch.allclose(after[name], weights[name] + delta, atol=1e-6)


@EVERY
def test_the_state_is_tensors_by_name(aggregator: Aggregator) -> None:
    weights, layers = start()
    _, state = aggregator.apply(weights, mixed(), aggregator.init(weights, layers))
    assert all(isinstance(t, Tensor) for t in state.tensors.values())


def test_full_masks_are_fedavg() -> None:
    """The rule that the catalog's default has to keep; other rules may step differently."""
    aggregator: Aggregator = LayerwiseMean()
    weights, layers = start()
    updates = [update(c, layers.everything, rows=r, seed=r) for c, r in (("a", 1), ("b", 2), ("c", 5))]
    after, _ = aggregator.apply(weights, updates, aggregator.init(weights, layers))
    for name, tensor in weights.items():
        mean = sum(u.deltas[name].double() * u.num_examples for u in updates) / 8
        assert torch.allclose(after[name].double(), tensor.double() + mean, atol=1e-6)
