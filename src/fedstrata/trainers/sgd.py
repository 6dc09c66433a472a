"""Local SGD: the objective's own loss and the configured optimizer, new in every round.

As in arXiv 2408.15600, section 3. Momentum and Adam moments never outlive the mask that they belong to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedstrata.domain.ids import TensorName
from fedstrata.trainers.protocol import Inputs
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedstrata.models.objective import Objective


@dataclass(frozen=True)
class Sgd:
    """Train on the rows as they are, at constant rates; the optimizer is that of ``train.optimizer``."""

    @property
    def reads(self) -> str | None:
        """Any rows will do."""
        return None

    def batch(self, inputs: Inputs, labels: Tensor) -> tuple[Inputs, Tensor]:
        """Return the batch as it is."""
        return inputs, labels

    def loss(self, objective: Objective, logits: Tensor, inputs: Inputs, labels: Tensor) -> Tensor:
        """Return the objective's mean loss over the batch."""
        return objective.loss(logits, inputs, labels, reduction="mean")

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights) -> None:
        """Leave the gradients as they are."""

    def optimizer(
        self, parameters: Mapping[TensorName, nn.Parameter], plan: TrainPlan, always: Collection[TensorName]
    ) -> Optimizer:
        """Return SGD, SGD with momentum, or AdamW.

        Example:
            >>> import torch
            >>> weight = {TensorName("head"): torch.nn.Parameter(torch.zeros(1))}
            >>> Sgd().optimizer(weight, TrainPlan(always_lr=0.5), {TensorName("head")}).param_groups[0]["lr"]
            0.5
        """
        from torch.optim import SGD, AdamW

        apart = set(always) if plan.always_lr is not None else set()
        rates = ((plan.lr, parameters.keys() - apart), (plan.always_lr, parameters.keys() & apart))
        groups = [
            {"params": [parameters[n] for n in parameters if n in names], "lr": lr} for lr, names in rates if names
        ]
        if plan.optimizer == "adamw":
            return AdamW(groups, lr=plan.lr, weight_decay=plan.weight_decay)
        momentum = plan.momentum if plan.optimizer == "momentum" else 0.0
        return SGD(groups, lr=plan.lr, momentum=momentum, weight_decay=plan.weight_decay)

    def rate(self, step: int, steps: int) -> float:
        """Keep the rates."""
        return 1.0
