"""Steps that one process measures once for several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from torch import Tensor

from fedstrata.assembly.pricing import lengths_of, measured
from fedstrata.assembly.shared import MeasureStep
from fedstrata.costs.protocol import Workload
from fedstrata.domain.profile import StepProfile
from fedstrata.models.loaded import LoadedModel


@dataclass(slots=True)
class KnownSteps:
    """Measures steps, and knows those that it has measured: they depend on shapes alone, never on weights.

    Attributes:
        measure: Measures one.

    Example:
        See ``tests/sweeping/test_sweep_shared.py``.
    """

    measure: MeasureStep = measured
    _known: dict[str, tuple[StepProfile, ...]] = field(default_factory=dict)

    def __call__(
        self, network: LoadedModel, sample: Mapping[str, Tensor], workloads: Sequence[Workload]
    ) -> tuple[StepProfile, ...]:
        """Return what a step costs; see ``fedstrata.assembly.pricing.measured``."""
        key = _key(network, sample, workloads)
        if key not in self._known:
            self._known[key] = self.measure(network, sample, workloads)
        return self._known[key]


def _key(network: LoadedModel, sample: Mapping[str, Tensor], workloads: Sequence[Workload]) -> str:
    """Return a digest of everything that a measurement sees: the network's structure, its blocks, the batches."""
    model = network.model
    tensors = [*model.named_parameters(), *model.named_buffers()]
    seen = (
        (
            network.source,
            network.task,
            network.form.checkpointing,
            sorted(network.facts.items()),
            repr(network.layers),
            repr(model),
        ),
        str(getattr(model, "config", "")),
        [(name, tuple(t.shape), str(t.dtype), t.requires_grad) for name, t in tensors],
        [(name, tuple(t.shape), str(t.dtype)) for name, t in sample.items()],
        (lengths_of(workloads), max(count for w in workloads for count, _ in w.train)),
    )
    return sha256(repr(seen).encode()).hexdigest()
