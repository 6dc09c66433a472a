"""What a trainer is: the parts of local training that methods change, around one loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from fedstrata.domain.ids import TensorName
from fedstrata.domain.profile import TrainerCost
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedstrata.models.objective import Objective

Inputs = Mapping[str, "Tensor"]
"""A batch, by name of the input; the first dimension is that of the rows."""
ClientState = Mapping[TensorName, Mapping[str, "Tensor"]]
"""What a client keeps between rounds: for each tensor that it trained, tensors by name. It never leaves the client."""


class Trainer(Protocol):
    """How a client trains its mask; ``Sgd`` has every part, and a trainer of one's own may extend it.

    A local step is: draw a batch, ``batch``, forward pass, ``loss``, backward pass, ``correct``, clipping, and a step
    of the ``optimizer`` at its rates times ``rate``. Random numbers come from torch's default generator, which is
    seeded for the client and round before the first step. A trainer changes neither the rows nor the global weights.
    What it wants to know again in the client's next round is the client's state: ``begin`` is given it and ``end``
    hands it back. The trainer itself keeps nothing.
    """

    @property
    def reads(self) -> str | None:
        """Name of the input that it cannot do without, such as ``pixel_values``; ``None`` for any rows."""
        ...

    def batch(self, inputs: Inputs, labels: Tensor) -> tuple[Inputs, Tensor]:
        """Return what is trained on in the place of a batch, with as many rows.

        It is not asked for rows that are only used in groups (``limits.min_rows`` of a site): what is changed at
        random weighs the rows of a group apart, and answers under many seeds would tell them.

        Args:
            inputs: Tensors on the client's device; not to be changed.
            labels: Shape ``[rows]``, int64; not to be changed.
        """
        ...

    def loss(self, objective: Objective, logits: Tensor, inputs: Inputs, labels: Tensor) -> Tensor:
        """Return what is minimised over a batch: one float32 number, with its graph.

        Args:
            objective: What the model is trained for; its own loss is ``objective.loss``.
            logits: Of the batch.
            inputs: The batch.
            labels: Shape ``[rows]``, int64.
        """
        ...

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights, state: ClientState) -> None:
        """Change the gradients in place, before they are clipped; this is where terms of the weights belong.

        Args:
            parameters: What is trained, with its gradients.
            start: The global weights that the round began with; not to be changed.
            state: What the client kept, as ``begin`` was given it.
        """
        ...

    def optimizer(
        self, parameters: Mapping[TensorName, nn.Parameter], plan: TrainPlan, always: Collection[TensorName]
    ) -> Optimizer:
        """Return a new optimizer for what is trained.

        Args:
            parameters: What is trained.
            plan: Which optimizer is configured, at which rates.
            always: The names among them that every client trains, which have ``plan.always_lr`` where there is one.
        """
        ...

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rates are multiplied with.

        Args:
            step: Number of the local step, from 0.
            steps: How many there are in this round.
        """
        ...

    def cost(self, plan: TrainPlan) -> TrainerCost:
        """Return what all this asks of a client; one that says ``kept_copies`` keeps a state.

        Args:
            plan: How clients train.

        Raises:
            ConfigError: The trainer cannot train by this plan.
        """
        ...

    def begin(self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]) -> None:
        """Take up the client's state before the first step.

        Args:
            optimizer: The new optimizer.
            state: What the client kept of the tensors that are trained now, on their device; empty of those that it
                never trained. The tensors are the trainer's: they were read for it.
            parameters: What is trained.
        """
        ...

    def end(
        self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]
    ) -> ClientState:
        """Return the state of the tensors that were trained, after the last step; that of all others stays as it is.

        Args:
            optimizer: After the last step.
            state: As ``begin`` was given it.
            parameters: What was trained.
        """
        ...
