"""A model, rows and clients small enough to check by hand, for tests of every floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import ClientRows, TensorRows
from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec

BLOCKS = 3
CLASSES = 3


class ToyNet(nn.Module):
    """A frozen stem, three residual blocks with dropout, and a head."""

    def __init__(self, *, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Linear(4, 6)
            self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(BLOCKS))
            self.head = nn.Linear(6, CLASSES)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        hidden = torch.tanh(self.stem(features))
        for block in self.blocks:
            hidden = hidden + self.dropout(torch.tanh(block(hidden)))
        logits: Tensor = self.head(hidden)
        return logits


def toy_layers(net: nn.Module) -> LayerMap:
    def block(name: str, role: Role) -> Layer:
        specs = tuple(
            TensorSpec(TensorName(f"{name}.{n}"), tuple(p.shape)) for n, p in net.get_submodule(name).named_parameters()
        )
        return Layer(LayerName(name), role, specs)

    return LayerMap(
        tuple(block(f"blocks.{i}", Role.LAYER) for i in range(BLOCKS)),
        (block("head", Role.ALWAYS),),
        (block("stem", Role.NEVER),),
    )


def toy_model(*, dropout: float = 0.0, seed: int = 0) -> ResidentModel:
    net = ToyNet(dropout=dropout, seed=seed)
    return ResidentModel(net, toy_layers(net))


def toy_rows(rows: int, *, seed: int = 0) -> TensorRows:
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(rows, 4))).float()
    labels = (features[:, 0] > 0).long() + (features[:, 1] > 0).long()
    return TensorRows({"features": features}, labels)


def toy_clients(sizes: Mapping[str, int], *, held_out: int = 0, seed: int = 0) -> dict[ClientId, ClientRows]:
    rows = toy_rows(sum(sizes.values()) + held_out * len(sizes), seed=seed)
    clients, start = {}, 0
    for name, size in sizes.items():
        train = torch.arange(start, start + size)
        clients[ClientId(name)] = ClientRows(rows, train, torch.arange(start + size, start + size + held_out))
        start += size + held_out
    return clients


def named(*names: str) -> Sequence[ClientId]:
    return [ClientId(n) for n in names]


def copy_of(weights: Mapping[TensorName, Tensor]) -> dict[TensorName, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.items()}


def same_bits(a: Mapping[TensorName, Tensor], b: Mapping[TensorName, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
