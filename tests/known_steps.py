"""Steps that one process measures once: half of what a small run takes is measuring the step of the same small model.

What is measured depends on shapes alone, so a whole suite may know it; who tests measuring calls ``measure_step``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fedstrata.domain.layers import LayerMap
from fedstrata.domain.profile import StepProfile
from fedstrata.models.objective import Objective
from fedstrata.models.profiling.step import measure_step


@dataclass(slots=True)
class Known:
    """Measures a step as ``measure_step`` does, and knows those of transformers' own models.

    Attributes:
        measure: Measures one.
    """

    measure: Callable[..., StepProfile] = measure_step
    _known: dict[str, StepProfile] = field(default_factory=dict)

    def __call__(
        self,
        model: nn.Module,
        layers: LayerMap,
        inputs: Mapping[str, Tensor],
        objective: Objective,
        *,
        checkpointing: bool = False,
    ) -> StepProfile:
        """Return what a step costs."""
        if not _ordinary(model):
            return self.measure(model, layers, inputs, objective, checkpointing=checkpointing)
        key = repr(_seen(model, layers, inputs)) + repr((objective, checkpointing))
        if key not in self._known:
            self._known[key] = self.measure(model, layers, inputs, objective, checkpointing=checkpointing)
        return self._known[key]


def _ordinary(model: nn.Module) -> bool:
    """Return whether a model does what its class and its configuration say: nobody has changed what it runs."""
    own = type(model).__module__.startswith("transformers.models.")
    return own and not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def _seen(model: nn.Module, layers: LayerMap, inputs: Mapping[str, Tensor]) -> tuple[object, ...]:
    """Return everything that a measurement sees of a network, its blocks and a batch."""
    config: Any = getattr(model, "config", None)
    held = [*model.named_parameters(), *model.named_buffers(), *inputs.items()]
    return (
        type(model),
        repr(model),
        str(config),
        getattr(config, "_attn_implementation", None),
        layers,
        [(name, type(t), tuple(t.shape), t.dtype, t.device, t.requires_grad) for name, t in held],
    )
