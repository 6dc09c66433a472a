"""The error of a round measured with the clients' own rows: full gradients, one client at a time.

Of each layer three sums are kept, in float64: ``sum_i alpha_i g_il``, ``sum_i w_il g_il`` and
``sum_i alpha_i || g_il ||^2``; so memory does not grow with the clients. The formulas are in ``domain/theory.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedstrata.client.probe import Passes, adder
from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import Mask
from fedstrata.domain.theory import LayerMoments
from fedstrata.wire.messages import Weights


@dataclass(frozen=True, slots=True)
class ExactGradients:
    """Takes the gradients of whole clients, in evaluation mode.

    Attributes:
        model: The resident model; left as it was found, with no gradient behind.
        clients: Rows of each client.
        batch_size: Rows per backward pass; changes the result by rounding alone.
        eval_batch: Rows per pass where only the loss is wanted.
    """

    model: ResidentModel
    clients: Mapping[ClientId, ClientRows]
    batch_size: int = 32
    eval_batch: int = 256

    def moments(
        self, weights: Weights, shares: Mapping[ClientId, float], masks: Mapping[ClientId, Mask]
    ) -> tuple[tuple[LayerMoments, ...], float]:
        """Return each layer's moments over all training rows of some clients, and their loss.

        Args:
            weights: Where the gradients are taken.
            shares: Data share of each client, summing to 1.
            masks: The layers that each of them trained and that counted.

        Raises:
            ClientError: The loss is not finite.

        Example:
            See ``tests/client/test_exact.py``.
        """
        layers = self.model.layers
        inside = [{c for c, mask in masks.items() if index in mask} for index in range(len(layers))]
        everyone = set(shares)  # their share is 1, which a sum of theirs may miss by rounding
        sums = [_Sums(1.0 if chosen == everyone else sum(shares[c] for c in chosen)) for chosen in inside]
        loss = 0.0
        for client, share in shares.items():
            rows = len(self.clients[client].train)
            totals, lost = self._totals(weights, self.clients[client])
            loss += share * lost / rows
            for layer, one, chosen in zip(layers, sums, inside, strict=True):
                found = {t.name: totals.pop(t.name) for t in layer.tensors if t.name in totals}
                one.add(found, rows, share, trained=client in chosen)
        return tuple(one.moments() for one in sums), loss

    def loss(self, weights: Weights, shares: Mapping[ClientId, float]) -> float:
        """Return the loss over all training rows of some clients.

        Example:
            See ``tests/client/test_exact.py``.
        """
        self.model.mount(weights)
        self.model.set_evaluation()
        owned = ((share, self.clients[client]) for client, share in shares.items())
        return sum(share * self._lost(own) / len(own.train) for share, own in owned)

    @torch.no_grad()
    def _lost(self, own: ClientRows) -> float:
        """Return the summed training loss of a client's rows."""
        total, device = 0.0, self.model.device
        for batch in own.rows.by_length(own.train).split(self.eval_batch):
            inputs, labels = own.rows.take(batch)
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            logits = self.model.logits(inputs)
            total += float(self.model.objective.loss(logits, inputs, labels.to(device), reduction="sum"))
        return total

    def _totals(self, weights: Weights, own: ClientRows) -> tuple[dict[TensorName, Tensor], float]:
        """Return the sums over a client's rows of their gradients, by tensor, and of their losses."""
        sums: dict[TensorName, Tensor] = {}
        self.model.set_evaluation()
        with self.model.probing(weights) as parameters:
            passes = Passes(self.model, parameters, rows=own.rows, batch_size=self.batch_size)
            loss = passes.each(own.rows.by_length(own.train), adder(sums), last=adder(sums))
        return sums, loss


class _Sums:
    """The three sums of one layer.

    Args:
        mass: A_l, the data share of those who trained it.
    """

    def __init__(self, mass: float) -> None:
        self._mass, self._second = mass, 0.0
        self._mean: dict[TensorName, Tensor] = {}
        self._off: dict[TensorName, Tensor] = {}

    def add(self, totals: Mapping[TensorName, Tensor], rows: int, share: float, *, trained: bool) -> None:
        """Add a client's gradient.

        Args:
            totals: Sum over its rows, by tensor.
            rows: How many.
            share: Its data share.
            trained: Whether it trained the layer.
        """
        weight = share / self._mass if trained else 0.0
        for name, total in totals.items():
            gradient = total.double() / rows
            if name not in self._mean:
                self._mean[name], self._off[name] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            self._mean[name].add_(gradient, alpha=share)
            self._off[name].add_(gradient, alpha=share - weight)
            self._second += share * _square(gradient)

    def moments(self) -> LayerMoments:
        """Return what they come to; a spread below 0 by rounding is 0."""
        mean = sum(map(_square, self._mean.values()))
        off = sum(map(_square, self._off.values()))
        return LayerMoments(mean, max(self._second - mean, 0.0), off)


def _square(tensor: Tensor) -> float:
    return float(tensor.square().sum())
