"""A trainer of the user's own, held to what trainers return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from fedstrata.domain.ids import TensorName
from fedstrata.domain.profile import TrainerCost
from fedstrata.extensions.sentences import Duty, shown
from fedstrata.trainers.protocol import ClientState, Inputs, Trainer
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedstrata.models.objective import Objective


@dataclass(frozen=True, slots=True)
class HeldTrainer:
    """A trainer of the user's own."""

    own: Trainer

    @property
    def reads(self) -> str | None:
        """Name of the input that it cannot do without."""
        found: Any = self.own.reads
        if found is not None and not isinstance(found, str):
            raise Duty(self.own, "reads", "the name of an input, or None").broken(found)
        return found

    def batch(self, inputs: Inputs, labels: Tensor) -> tuple[Inputs, Tensor]:
        """Return what is trained on in the place of a batch."""
        duty = Duty(self.own, "batch", "a pair of inputs and labels, tensors with as many rows as they had")
        pair = duty.pair(self.own.batch(inputs, labels))
        changed = {**duty.mapping(pair[0]), "labels": pair[1]}
        for name, tensor in changed.items():
            if not is_tensor(tensor):
                raise duty.broken_by(f"as {name} {shown(tensor)}")
            if len(tensor) != len(labels):
                raise duty.broken_by(f"{len(tensor)} rows of {name}, and not {len(labels)}")
        if lost := [name for name in inputs if name not in pair[0]]:
            raise duty.broken_by(f"no {lost[0]}")
        return pair

    def loss(self, objective: Objective, logits: Tensor, inputs: Inputs, labels: Tensor) -> Tensor:
        """Return what is minimised over a batch."""
        duty = Duty(self.own, "loss", "a tensor with one number that depends on the logits")
        found: Any = self.own.loss(objective, logits, inputs, labels)
        if not is_tensor(found) or found.numel() != 1:
            raise duty.broken(found)
        if not found.requires_grad:
            raise duty.broken_by("a number without a gradient")
        number: Tensor = found.reshape(())
        return number

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights, state: ClientState) -> None:
        """Change the gradients in place."""
        self.own.correct(parameters, start, state)

    def optimizer(
        self, parameters: Mapping[TensorName, nn.Parameter], plan: TrainPlan, always: Collection[TensorName]
    ) -> Optimizer:
        """Return a new optimizer for what is trained."""
        from torch.optim import Optimizer  # four seconds that a mistyped key does not wait for

        found: Any = self.own.optimizer(parameters, plan, always)
        if not isinstance(found, Optimizer):
            raise Duty(self.own, "optimizer", "a torch.optim.Optimizer").broken(found)
        return found

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rates are multiplied with."""
        found: Any = self.own.rate(step, steps)
        if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found < inf:
            raise Duty(self.own, "rate", "a number, 0 or more").broken(found)
        return found

    def cost(self, plan: TrainPlan) -> TrainerCost:
        """Return what training asks of a client."""
        found: Any = self.own.cost(plan)
        if not isinstance(found, TrainerCost):
            raise Duty(self.own, "cost", "a TrainerCost").broken(found)
        return found

    def begin(self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]) -> None:
        """Take up the client's state."""
        self.own.begin(optimizer, state, parameters)

    def end(
        self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]
    ) -> ClientState:
        """Return the state of the tensors that were trained."""
        duty = Duty(self.own, "end", "for each trained tensor that it keeps something of, a dict of tensors by name")
        found = duty.mapping(self.own.end(optimizer, state, parameters))
        for name, kept in found.items():
            if name not in parameters:
                raise duty.broken_by(f"something for {shown(name)}, which was not trained")
            for key, tensor in duty.mapping(kept).items():
                if not isinstance(key, str) or not key or "/" in key or not is_tensor(tensor):
                    raise duty.broken_by(f"as {shown(key)} of {name} {shown(tensor)}")
        return found


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor."""
    from torch import Tensor  # four seconds that a mistyped key does not wait for

    return isinstance(value, Tensor)
