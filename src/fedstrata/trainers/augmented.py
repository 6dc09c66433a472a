"""Image augmentation: each time a row is drawn, it is flipped, shifted and distorted at random.

Flips and shifts with zeros around are those of He, Zhang, Ren and Sun (Deep Residual Learning, CVPR 2016, section 4.2).
``randaugment`` follows Cubuk, Zoph, Shlens and Le (RandAugment, CVPR Workshops 2020, arXiv 1909.13719): n operations
drawn with equal chances, all at one magnitude of 0 to 30. Images are normalised by the model's processor when they come
here, so the operations that need 8-bit values (posterize, solarize, equalize, autocontrast) are left out, brightness
adds where it multiplies there, and zero, which fills what a shift uncovers, is the mean colour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedstrata.domain.ids import TensorName
from fedstrata.domain.profile import TrainerCost
from fedstrata.errors import ConfigError
from fedstrata.trainers.protocol import ClientState, Inputs, Trainer
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedstrata.models.objective import Objective

PIXELS = "pixel_values"
"""The input that images are in; shape ``[rows, channels, height, width]``."""
STRONGEST = 30.0
"""The largest magnitude."""
OPERATION_FLOPS = 9.0
"""Operations of ``images.distorted`` per number, on average: 11 of the five that interpolate between four neighbours,
21 of sharpness with its filter of 9, at most 4 of the others."""
ROW_COPIES = 5
"""Copies of an image that one operation makes, at most: places to sample at, of an image with one channel."""


@dataclass(frozen=True)
class Augmented:
    """Change images at random, and train on them as another trainer does.

    Attributes:
        flip: Chance that an image is mirrored left to right.
        shift: Pixels that an image is moved by at most, up or down and left or right.
        randaugment: Operations per image.
        magnitude: Their strength, from 0 to 30.
        inner: Trains on what comes out.
    """

    flip: float = 0.5
    shift: int = 0
    randaugment: int = 0
    magnitude: float = 9.0
    inner: Trainer = field(default_factory=Sgd)

    def __post_init__(self) -> None:
        """Refuse values that no image can be changed by."""
        for name, value, least, most in (
            ("flip", self.flip, 0, 1),
            ("shift", self.shift, 0, 128),
            ("randaugment", self.randaugment, 0, 16),
            ("magnitude", self.magnitude, 0, STRONGEST),
        ):
            if not least <= value <= most:
                raise ConfigError(f"trainer 'augmented' has {name}: {value:g}; it must be from {least} to {most:g}")

    @property
    def reads(self) -> str | None:
        """Images."""
        return PIXELS

    def batch(self, inputs: Inputs, labels: Tensor) -> tuple[Inputs, Tensor]:
        """Return the images changed, each in its own way."""
        from fedstrata.trainers.images import distorted, flipped, shifted

        images = inputs[PIXELS]
        if self.flip:
            images = flipped(images, self.flip)
        if self.shift:
            images = shifted(images, self.shift)
        for _ in range(self.randaugment):
            images = distorted(images, self.magnitude / STRONGEST)
        return self.inner.batch({**inputs, PIXELS: images}, labels)

    def loss(self, objective: Objective, logits: Tensor, inputs: Inputs, labels: Tensor) -> Tensor:
        """Return the inner trainer's loss."""
        return self.inner.loss(objective, logits, inputs, labels)

    def correct(self, parameters: Mapping[TensorName, nn.Parameter], start: Weights, state: ClientState) -> None:
        """Correct the gradients as the inner trainer does."""
        self.inner.correct(parameters, start, state)

    def optimizer(
        self, parameters: Mapping[TensorName, nn.Parameter], plan: TrainPlan, always: Collection[TensorName]
    ) -> Optimizer:
        """Return the inner trainer's optimizer."""
        return self.inner.optimizer(parameters, plan, always)

    def rate(self, step: int, steps: int) -> float:
        """Return the inner trainer's factor."""
        return self.inner.rate(step, steps)

    def cost(self, plan: TrainPlan) -> TrainerCost:
        """Return what the inner trainer asks, and the changes: each makes a copy of what the one before has made."""
        inner, changes = self.inner.cost(plan), 2 * (self.flip > 0) + (self.shift > 0) + self.randaugment
        return replace(
            inner,
            batch_copies=max(inner.batch_copies, min(changes, 2)),
            row_copies=max(inner.row_copies, ROW_COPIES if self.randaugment else 0),
            batch_flops=inner.batch_flops + self.randaugment * OPERATION_FLOPS,
        )

    def begin(self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]) -> None:
        """Take up the state as the inner trainer does."""
        self.inner.begin(optimizer, state, parameters)

    def end(
        self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]
    ) -> ClientState:
        """Return the inner trainer's state."""
        return self.inner.end(optimizer, state, parameters)
