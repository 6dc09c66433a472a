"""The one model that lives in a process: weights mounted by reference, only what trains is copied.

Every parameter points at the server's tensor, or at an aligned copy of one that begins where kernels may give other
bits (``memory_alignment.py``). A client that trains a mask gets clones of those tensors alone, and
afterwards the parameters point at the server's tensors again: nothing else is copied or restored, and a client that
raises leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.memory_alignment import align_module, aligned
from fedstrata.models.checkpointing import checkpointed
from fedstrata.models.objective import Classification, Objective
from fedstrata.wire.messages import Weights


class ResidentModel:
    """A module whose trainable parameters are mounted from weights held elsewhere.

    Args:
        module: Any network that returns logits, or an object with ``logits``.
        layers: Its partition; only these tensors are ever mounted or trained.
        objective: What it is trained for and judged by.
        checkpointing: Whether layers are computed again in the backward pass.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: LayerMap,
        objective: Objective = Classification(),  # noqa: B008  a value
        *,
        checkpointing: bool = False,
    ) -> None:
        align_module(module)
        self.module = module
        self.layers = layers
        self.objective = objective
        self._checkpointing = checkpointing
        self._parameters: dict[str, nn.Parameter] = dict(module.named_parameters())
        self._mounted: dict[str, Tensor] = {}
        self._modes: dict[bool, tuple[tuple[nn.Module, bool], ...]] = {}
        self.bytes = bytes_of(module)
        """Bytes of all parameters and buffers."""
        module.requires_grad_(False)
        self._frozen = {block.name: self._checksum(block.tensor_names) for block in layers.never}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(iter(self._parameters.values())).device

    def weights(self) -> dict[TensorName, Tensor]:
        """Return the trainable tensors (all layers and ``always``) by reference."""
        tensors = self.layers.tensors_of(self.layers.everything)
        return {t.name: self._parameters[t.name].data for t in tensors}

    def mount(self, weights: Weights) -> None:
        """Point the trainable parameters at these tensors; only those that are not aligned are copied.

        One that a parameter points at already is left where it is: most clients of a round find what the one before
        them left.
        """
        for name, tensor in weights.items():
            parameter = self._parameters[name]
            if self._mounted.get(name) is not tensor or parameter.data_ptr() != tensor.data_ptr():
                parameter.data = aligned(tensor)
                self._mounted[name] = tensor

    def logits(self, inputs: Mapping[str, Tensor], within: AbstractContextManager[object] | None = None) -> Tensor:
        """Return the logits that the objective needs of a batch; of classes, ``[rows, classes]``.

        Args:
            inputs: The batch.
            within: What the model is run in, such as ``models/shortcut.py: skipped``.
        """
        with checkpointed(self.module, self.layers) if self._checkpointing else nullcontext(), within or nullcontext():
            return self.objective.logits(self.module, inputs)

    @contextmanager
    def training(self, weights: Weights, mask: Mask) -> Iterator[dict[TensorName, nn.Parameter]]:
        """Give the parameters of a mask and ``always`` clones to train, and take them back at the end.

        Yields:
            The parameters that require gradients, by name. All others are frozen, so that back-propagation stops at
            the lowest selected layer.
        """
        self.mount(weights)
        names = [t.name for t in self.layers.tensors_of(mask)]
        trained = {name: self._parameters[name] for name in names}
        try:
            for parameter in trained.values():
                parameter.data = parameter.data.clone()
                parameter.requires_grad_(True)
            yield trained
        finally:
            self._release(trained, weights)

    @contextmanager
    def probing(self, weights: Weights) -> Iterator[dict[TensorName, nn.Parameter]]:
        """Let every selectable layer's parameters require gradients; they are not to be changed."""
        self.mount(weights)
        names = [t.name for layer in self.layers for t in layer.tensors]
        probed = {name: self._parameters[name] for name in names}
        try:
            for parameter in probed.values():
                parameter.requires_grad_(True)
            yield probed
        finally:
            self._release(probed, weights)

    def set_training(self) -> None:
        """Switch dropout on, and keep normalisation layers on their stored running statistics.

        Running statistics are buffers: they never travel, so a client must not move them.
        """
        self._switch(training=True)

    def set_evaluation(self) -> None:
        """Switch dropout off."""
        self._switch(training=False)

    def _switch(self, *, training: bool) -> None:
        """Switch the mode of all modules, unless each has been left as the mode wants it."""
        left = self._modes.get(training, ())
        if left and all(module.training is flag for module, flag in left):
            return
        self.module.train(training)
        modules = tuple(self.module.modules())
        for child in modules:
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                child.eval()
        self._modes[training] = tuple((module, module.training) for module in modules)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Be in evaluation mode while the body runs, and then as before."""
        before = [(module, module.training) for module in self.module.modules()]
        self.set_evaluation()
        try:
            yield
        finally:
            for module, training in before:
                module.training = training

    def frozen_drift(self) -> dict[LayerName, float]:
        """Return, per ``never`` block, 0.0 if its bits are those of the start, else infinity."""
        return {
            block.name: 0.0 if self._checksum(block.tensor_names) == self._frozen[block.name] else float("inf")
            for block in self.layers.never
        }

    def _release(self, parameters: Mapping[TensorName, nn.Parameter], weights: Weights) -> None:
        for name, parameter in parameters.items():
            parameter.requires_grad_(False)
            parameter.grad = None
            parameter.data = aligned(weights[name])

    def _checksum(self, names: tuple[TensorName, ...]) -> tuple[int, ...]:
        return tuple(_bits(self._parameters[name].data) for name in names)


def bytes_of(module: nn.Module) -> int:
    """Return the bytes of all parameters and buffers.

    Example:
        >>> bytes_of(nn.Linear(3, 2))
        32
    """
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))


def _bits(tensor: Tensor) -> int:
    """Return a quick hash of a tensor's bits: the sums of all and of every third of its 32-bit words, on its device.

    It finds what changes by accident, and is no digest: a few bytes at the end are left out, and words that change
    places may leave the sums as they were. ``inputs.json`` has digests of the same blocks, made once.
    """
    data = tensor.detach().contiguous().flatten().view(torch.uint8)
    if data.is_meta:
        return 0
    words = data[: data.numel() // 4 * 4].view(torch.int32)
    return hash((int(words.sum(dtype=torch.int64)), int(words[::3].sum(dtype=torch.int64)), data.numel()))
