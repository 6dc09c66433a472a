"""Evaluation: sums over rows."""

from __future__ import annotations

import torch
from torch import Tensor

from fedstrata.client.evaluate import evaluate
from fedstrata.client.resident import ResidentModel
from toys import ToyNet, toy_layers, toy_rows


class Picky(ToyNet):
    """A network that takes no empty batch, as attention does not."""

    def forward(self, features: Tensor) -> Tensor:
        assert len(features)
        return super().forward(features)


def test_a_client_without_held_out_rows_asks_nothing_of_the_network() -> None:
    net = Picky()
    model = ResidentModel(net, toy_layers(net))
    nothing = torch.arange(0)
    assert evaluate(model, model.weights(), rows=toy_rows(4), indices=nothing, batch_size=2) == (0.0, 0)


def test_sums_do_not_depend_on_the_batches() -> None:
    net = Picky()
    model = ResidentModel(net, toy_layers(net))
    sums = [
        evaluate(model, model.weights(), rows=toy_rows(7), indices=torch.arange(7), batch_size=b) for b in (1, 3, 7)
    ]
    assert len({correct for _, correct in sums}) == 1
    assert max(loss for loss, _ in sums) - min(loss for loss, _ in sums) < 1e-5
