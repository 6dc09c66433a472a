"""Local SGD: the objective's own loss and the configured optimizer, as in arXiv 2408.15600, section 3.

By default the optimizer's state is new in every round, so that moments never outlive the mask that they belong to.
Where clients keep it, the moments of a layer wait until the client trains that layer again. Wang, Tantia, Ballas and
Rabbat (SlowMo, ICLR 2020, arXiv 1910.00643) call the two "reset" and "maintain".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedstrata.domain.ids import TensorName
from fedstrata.domain.profile import TrainerCost
from fedstrata.domain.training import MOMENTS
from fedstrata.errors import ConfigError
from fedstrata.trainers.protocol import ClientState, Inputs
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedstrata.models.objective import Objective


@dataclass(frozen=True)
class Sgd:
    """Train on the rows as they are, at constant rates; the optimizer is that of ``train.optimizer``.

    Attributes:
        optimizer_state: ``new`` in every round, or ``kept`` by each client.
    """

    optimizer_state: Literal["new", "kept"] = "new"

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

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights, state: ClientState) -> None:
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

    def cost(self, plan: TrainPlan) -> TrainerCost:
        """Return the moments that are kept; in a step they are the optimizer's own."""
        if self.optimizer_state == "new":
            return TrainerCost()
        if plan.optimizer == "sgd":
            raise ConfigError(
                "optimizer_state: kept has nothing to keep, since train.optimizer: sgd has no state; use momentum or"
                " adamw, or optimizer_state: new"
            )
        return TrainerCost(kept_copies=MOMENTS[plan.optimizer])

    def begin(self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]) -> None:
        """Give the optimizer the moments that the client kept; those of another optimizer are of no use to it."""
        kind = type(optimizer).__name__
        for name, kept in state.items():
            own = {key.removeprefix(f"{kind}."): tensor for key, tensor in kept.items() if key.startswith(f"{kind}.")}
            if own:  # numbers stay on the CPU, where torch's optimizers count steps
                optimizer.state[parameters[name]] = {k: t if t.dim() else t.cpu() for k, t in own.items()}

    def end(
        self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]
    ) -> ClientState:
        """Return the optimizer's moments, or nothing where they are not kept."""
        if self.optimizer_state == "new":
            return {}
        kind = type(optimizer).__name__
        return {
            name: {f"{kind}.{key}": value for key, value in optimizer.state[p].items() if value is not None}
            for name, p in parameters.items()
        }
