"""Layer-wise averaging: each layer's deltas are averaged over the clients that trained it.

theta_l <- theta_l + eta_s * sum_i w_il delta_il,  w_il = n_i m_i(l) / sum_j n_j m_j(l)
(Sun, Xie, Ding, Li, Zhang: Exploring Selective Layer Fine-Tuning in Federated Learning, arXiv 2408.15600, eq. 4-5;
with full masks it is FedAvg, McMahan et al., AISTATS 2017, on deltas.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import LayerMap
from fedstrata.errors import ConfigError
from fedstrata.wire.messages import Update, Weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerwiseMean:
    """Average each layer over its contributors, weighted by their training rows.

    Attributes:
        server_lr: Server learning rate eta_s; 1 applies the mean delta as it is.
    """

    server_lr: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a rate that cannot move the model."""
        if not (isfinite(self.server_lr) and self.server_lr > 0):
            raise ConfigError(f"aggregator.server_lr must be a positive number, got {self.server_lr}")

    def init(self, weights: Weights, layers: LayerMap) -> AggregatorState:
        """Return an empty memory: averaging needs none."""
        return AggregatorState()

    def apply(
        self, weights: Weights, updates: Iterable[Update], state: AggregatorState
    ) -> tuple[Weights, AggregatorState]:
        """Move each tensor by its mean delta; one that nobody trained comes back as the same object, bit-identical."""
        means = mean_deltas(updates)
        if self.server_lr != 1:
            means = {name: mean.mul_(self.server_lr) for name, mean in means.items()}
        moved = {name: mean.add_(weights[name]) for name, mean in means.items()}
        return {**weights, **moved}, state


def mean_deltas(updates: Iterable[Update]) -> dict[TensorName, Tensor]:
    """Return the mean delta of each tensor over those who trained it, weighted by their rows; new tensors.

    Updates are folded as they arrive: float32 sums in place, one float64 weight per contributor. Memory is one sum per
    touched tensor plus the update in hand. What is done with the mean is the aggregator's: a plain step here.
    """
    sums: dict[TensorName, Tensor] = {}
    mass: dict[TensorName, float] = {}
    for update in updates:
        rows = float(update.num_examples)
        for name, delta in update.deltas.items():
            if name in sums:
                sums[name].add_(delta, alpha=rows)
            else:
                sums[name] = delta * rows
            mass[name] = mass.get(name, 0.0) + rows
    return {name: total.div_(mass[name]) for name, total in sums.items()}
