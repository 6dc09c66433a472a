"""What a mask really costs a client in one round, the probe included; measured on the model, not guessed from its size.

With lowest trained layer l::

    flops   = steps * [ forward(all) + carry(from the loss down to l) + weight gradients(mask, always) ] + updates
              + what the trainer does to batches and gradients
    bytes up = encoded deltas(mask, always) + statistics        bytes down = layers that the client lacks + the mask
    peak memory: costs/memory.py         seconds = operations / the client's measured rates + fixed times + transfers

and each probe adds a forward and a backward pass through every selectable layer over its rows, and its statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstrata.costs import compute, memory
from fedstrata.costs.protocol import Facts, Pricing, Workload
from fedstrata.costs.scaling import at
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.domain.prices import Prices
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ConfigError
from fedstrata.wire.sizes import mask_bytes, probe_bytes, update_bytes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """Prices layers, FLOPs, bytes, peak memory and, for clients with a device profile, seconds.

    Where the model's step cannot be measured, layers and bytes alone are priced.

    Attributes:
        margin: Share of the step's peak memory that is priced on top, for whole pages, what kernels take for the moment
            and gaps between blocks. Its default is a choice; what one run held against its prices, and where that was
            more than the default covers, is in ``docs/concepts/cost.md``.
    """

    margin: float = 0.08

    def __post_init__(self) -> None:
        """Refuse a margin that is none."""
        if not 0 <= self.margin < 10:
            raise ConfigError(f"margin is a share of the peak memory from 0 up, such as 0.08; got {self.margin}")

    def bind(self, facts: Facts) -> Pricing:
        """Return the prices of a run; measures the model's step."""
        return Bound(facts, facts.profiles(), margin=self.margin)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One row of a price list: what a lowest layer asks, the last entry for none; and what each layer adds."""

    unit: str
    setup: Floats
    each: Floats


class Bound:
    """Prices of one run.

    Args:
        facts: Model, clients and plans.
        profiles: The measured step, at one or more lengths; none if it could not be measured.
        margin: Share of the peak memory that is priced on top.
    """

    def __init__(self, facts: Facts, profiles: Sequence[StepProfile], *, margin: float = 0.0) -> None:
        self._facts, self._profiles, self._margin = facts, tuple(profiles), 1 + margin
        self._moments: dict[tuple[object, ...], list[_Row]] = {}
        self._work: dict[tuple[Workload, int], tuple[list[compute.Passes], compute.Updates]] = {}

    def prices(self, client: ClientId, visit: ClientRound) -> Prices:
        """Return what each mask asks of the client in one round."""
        up, down = self._up(visit.probes), self._down(visit)
        found = [self._flat("layers", 0.0, np.ones(self._count)), up, down]
        if self._profiles:
            workload = self._facts.workloads[client]
            found += [self._flops(workload, visit.probes), *self._peaks(workload, probed=visit.probes > 0)]
            device = self._facts.devices.get(client)
            if device is not None:
                found.append(self._seconds(workload, device, up, down, probes=visit.probes))
        base = np.array([row.setup[-1] for row in found])
        setup = np.array([np.maximum(row.setup[:-1] - row.setup[-1], 0.0) for row in found])
        return Prices(tuple(row.unit for row in found), base, setup, np.array([row.each for row in found]))

    @property
    def _count(self) -> int:
        return len(self._facts.layers)

    def _flat(self, unit: str, base: float, each: Floats) -> _Row:
        return _Row(unit, np.full(self._count + 1, float(base)), each)

    def _up(self, probes: int) -> _Row:
        layers = self._facts.layers
        encoding = self._facts.train.encoding
        base = update_bytes(layers.always, encoding)
        sketch = self._facts.probe.sketch
        base += probes * probe_bytes(layers, self._facts.probe.statistics, sketch.dimension if sketch else 0)
        each = np.array([update_bytes([layer], encoding) for layer in layers], dtype=np.float64)
        return self._flat("bytes_up", base, each)

    def _down(self, visit: ClientRound) -> _Row:
        return self._flat("bytes_down", visit.bytes_down + mask_bytes(self._facts.layers), np.zeros(self._count))

    def _passes(self, workload: Workload, probes: int) -> tuple[list[compute.Passes], compute.Updates]:
        key = (workload, probes)
        if key not in self._work:
            passes = [compute.training(self._profiles, workload)]
            if probes:
                passes += [compute.probing(self._profiles, workload)] * probes
            self._work[key] = passes, compute.updating(self._facts.layers, len(workload.train))
        return self._work[key]

    def _flops(self, workload: Workload, probes: int) -> _Row:
        passes, updates = self._passes(workload, probes)
        trainer = self._facts.trainer
        update = updates.steps * (compute.UPDATE_FLOPS[self._facts.train.optimizer] + trainer.weight_flops)
        setup = np.full(self._count + 1, update * updates.shared)
        each = update * updates.each
        for p in passes:
            setup += p.forward + p.carry + p.shared + trainer.batch_flops * p.batches
            each = each + p.each
        return _Row("flops", setup, each)

    def _seconds(self, workload: Workload, device: DeviceProfile, up: _Row, down: _Row, *, probes: int) -> _Row:
        passes, updates = self._passes(workload, probes)
        trainer = self._facts.trainer
        touched = compute.UPDATE_TOUCHES[self._facts.train.optimizer] + trainer.weight_touches
        touches = touched * updates.steps + compute.VISIT_TOUCHES
        update = 4 * touches / device.update
        send = 0.0 if device.upload is None else 1 / device.upload
        fetch = 0.0 if device.download is None else 1 / device.download
        setup = np.full(self._count + 1, update * updates.shared) + send * up.setup + fetch * down.setup
        each = update * updates.each + send * up.each
        for p in passes:
            fixed = device.visit + device.step * p.steps + trainer.batch_flops * p.batches / device.forward
            setup += fixed + p.forward / device.forward + p.carry / device.carry + p.shared / device.weight
            each = each + p.each / device.weight
        return _Row("seconds", setup, each)

    def _peaks(self, workload: Workload, *, probed: bool) -> list[_Row]:
        train = (max(rows for rows, _ in workload.train), workload.longest)
        probe = (max(rows for rows, _ in workload.probe), workload.longest) if probed else None
        key = (train, probe, len(workload.probe) > 1)
        if key not in self._moments:
            facts = self._facts
            moments = memory.training(
                at(self._profiles, train),
                facts.layers,
                facts.train,
                parameters=facts.parameter_bytes,
                trainer=facts.trainer,
            )
            parts = zip(moments.setup * self._margin, moments.each * self._margin, strict=True)
            found = [_Row("bytes_peak", *part) for part in parts]
            if probe is not None:
                peak = memory.probing(
                    at(self._profiles, probe),
                    facts.layers,
                    facts.probe.statistics,
                    passes=len(workload.probe),
                    parameters=facts.parameter_bytes,
                    sketched=facts.probe.sketch is not None,
                )
                found.append(self._flat("bytes_peak", peak * self._margin, np.zeros(self._count)))
            self._moments[key] = found
        return self._moments[key]
