"""FedProx: a proximal term keeps each client near the global weights, where clients' rows differ.

minimise  F_k(w) + mu/2 |w - w_t|^2  over what the client trains, w_t the global weights of the round
(Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: Federated Optimization in Heterogeneous Networks, MLSys 2020,
arXiv 1812.06127, eq. 2). Layers outside the mask do not move, so their part of the term is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedstrata.domain.ids import TensorName
from fedstrata.domain.profile import TrainerCost
from fedstrata.errors import ConfigError
from fedstrata.trainers.protocol import ClientState
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FedProx(Sgd):
    """Train with a proximal term; the losses that are recorded are without it.

    Attributes:
        mu: Weight of the term, 0 or more; 0 is local SGD to the bit. The paper tries 0.001 to 1.
    """

    mu: float = 0.01

    def __post_init__(self) -> None:
        """Refuse a term that would drive clients apart."""
        if not 0 <= self.mu < float("inf"):
            raise ConfigError(f"trainer 'fedprox' has mu: {self.mu:g}; it must be 0 or more, such as 0.01")

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights, state: ClientState) -> None:
        """Add the term's gradient, mu (w - w_t); the difference first, which is exact where the two are near."""
        if not self.mu:
            return
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - start[name], alpha=self.mu)

    def cost(self, plan: TrainPlan) -> TrainerCost:
        """Return the difference of one tensor at a time: the global weights are there anyway, as the model's."""
        plain = Sgd.cost(self, plan)
        # a subtraction, a product and a sum; two reads and a write of the first, and of the last two together
        return replace(plain, temporaries=1, weight_flops=3.0, weight_touches=6) if self.mu else plain
