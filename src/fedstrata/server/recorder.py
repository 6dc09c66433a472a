"""The recorder of one round: what each client did, turned into the round's record."""

from __future__ import annotations

import logging
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from math import hypot, isfinite, sqrt
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import Layer, Mask
from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import Abandoned, ClientRecord, LayerRecord, RoundRecord, TheoryRecord
from fedstrata.domain.selection import Selection
from fedstrata.domain.theory import chi2
from fedstrata.runs.state import Measured, ServerState
from fedstrata.server.replies import Loss
from fedstrata.server.setting import Setting
from fedstrata.server.theory import sketched_moments, theory_record
from fedstrata.wire.admission import Norms
from fedstrata.wire.measures import distance
from fedstrata.wire.messages import PhaseName, Probed, Reject, Update, Weights
from fedstrata.wire.sizes import mask_bytes, statistics_bytes, update_bytes

log = logging.getLogger(__name__)

_OWN = {"round", "client", "num_examples", "mask", "peak_bytes"}
_TOLD = {f.name for f in fields(Update)} & {f.name for f in fields(ClientRecord)} - _OWN
"""What an update says that a client's record repeats; the rest the recorder works out itself."""


class Recorder:
    """Collects a round's facts as they happen; ``close`` turns them into values."""

    def __init__(self, state: ServerState, setting: Setting, cohort: Sequence[ClientId]) -> None:
        self.round = state.round + 1  # records count from 1
        self.cohort = tuple(cohort)
        self.failures: dict[ClientId, Reject] = {}
        self.losses: Counter[str] = Counter()
        self.contributors: dict[ClientId, tuple[int, Mask]] = {}
        self.piggybacked: dict[ClientId, Probed] = {}
        self._state, self._setting, self._start = state, setting, perf_counter()
        self._few: Mapping[LayerName, int] = {}
        self._probed: dict[ClientId, Probed] = {}
        self._scores: dict[ClientId, tuple[float, ...]] = {}
        self._measured: Mapping[ClientId, Measured] = {}
        self._masks: Mapping[ClientId, Mask] = {}
        self._prices: Mapping[ClientId, Cost] = {}
        self._updates: dict[ClientId, Update] = {}
        self._norms: dict[ClientId, dict[str, float]] = {}

    @property
    def answered(self) -> tuple[ClientId, ...]:
        """Clients with an answer that counted; they hold the round's weights."""
        return tuple(c for c in self.cohort if c in self._probed or c in self.contributors)

    def losses_of(self, phase: PhaseName) -> Loss:
        """Return a function that counts the losses of a phase and keeps their reasons."""

        def note(client: ClientId, reject: Reject, lost: bool) -> None:  # noqa: FBT001  the replies's callback
            self.losses[reject.reason] += 1
            if lost:
                self.failures[client] = reject
            log.debug("round %d, %s: %s: %s: %s", self.round, phase, client, reject.reason, reject.message)

        return note

    def note_below_quorum(self, blocks: Mapping[LayerName, int]) -> None:
        """Keep the blocks that too few clients trained, and how many did."""
        self._few = blocks
        if blocks:
            self.losses[Reason.BELOW_QUORUM] += len(blocks)

    def abandoned(self, phase: PhaseName, *, answered: int, needed: int) -> Abandoned:
        """Return the facts of a round that too few clients answered."""
        self.losses[Reason.BELOW_QUORUM] += 1
        clients = [self._client_record(c) for c in self.cohort]
        where = "the probe" if phase == "probe" else "training"
        message = f"round {self.round} is abandoned: {answered} of {len(self.cohort)} clients are left after {where}"
        message += f", {needed} {'is' if needed == 1 else 'are'} needed"
        if self.failures:
            client, first = next(iter(self.failures.items()))
            message += f"; first, {client}: {first.reason}: {first.message}"
        return Abandoned(
            round=self.round,
            attempt=self._state.attempt,
            phase=phase,
            answered=answered,
            needed=needed,
            message=message,
            failures={c: r.reason for c, r in self.failures.items()},
            losses=dict(sorted(self.losses.items())),
            bytes_up=sum(c.bytes_up for c in clients),
            bytes_down=sum(c.bytes_down for c in clients),
            seconds=perf_counter() - self._start,
        )

    def note_probed(self, probed: Probed) -> Probed:
        """Keep a client's statistics, and hand them on."""
        self._probed[probed.client] = probed
        return probed

    def note_selection(
        self,
        selection: Selection,
        scores: NDArray[np.float64] | None,
        prices: Mapping[ClientId, Cost],
        measured: Mapping[ClientId, Measured],
    ) -> None:
        """Record masks, their prices, and the scores there are.

        Args:
            selection: The masks.
            scores: Shape ``[clients, layers]``, in the order of the masks.
            prices: Of each client's mask and probes.
            measured: The scores among them that were piggybacked on the updates of the round before.
        """
        self._masks, self._prices, self._measured = selection.masks, prices, measured
        for row, client in enumerate(selection.masks):
            if (client in self._probed or client in measured) and scores is not None:
                self._scores[client] = tuple(float(s) for s in scores[row])

    def note_update(self, update: Update, norms: Norms) -> Update:
        """Keep what an update that counts says of itself, and what is piggybacked on it; hand it on."""
        self.contributors[update.client] = (update.num_examples, update.mask)
        if update.piggybacked is not None:
            self.piggybacked[update.client] = update.piggybacked
        blocks = self._setting.layers.blocks(update.mask)
        self._norms[update.client] = {b.name: sqrt(sum(norms[n] ** 2 for n in b.tensor_names)) for b in blocks}
        self._updates[update.client] = replace(update, deltas={})
        return update

    def close(self, weights: Weights, selection: Selection) -> tuple[RoundRecord, tuple[Layer, ...]]:
        """Return the round's record and the blocks with new tensors."""
        clients = tuple(self._client_record(c) for c in self.cohort)
        layers = tuple(self._layer_records(weights))
        record = RoundRecord(
            round=self.round,
            clients=clients,
            layers=layers,
            attempt=self._state.attempt,
            losses=dict(sorted(self.losses.items())),
            certificate=_certificate(selection),
            bytes_up=sum(c.bytes_up for c in clients),
            bytes_down=sum(c.bytes_down for c in clients),
            seconds=perf_counter() - self._start,
            peak_bytes=_peak_bytes(),
            theory=self._estimated(layers),
        )
        before, blocks = self._state.weights, self._setting.layers.trainable
        return record, tuple(b for b in blocks if any(weights[n] is not before[n] for n in b.tensor_names))

    def _estimated(self, layers: Sequence[LayerRecord]) -> TheoryRecord | None:
        """Estimate the round's error, where all whose updates counted sent sketches of gradients at its weights."""
        sent = [[s.sketch for s in self._probed[c].stats] for c in self.contributors if c in self._probed]
        if len(sent) < len(self.contributors) or any(sketch is None for own in sent for sketch in own):
            return None
        start = perf_counter()
        found = sketched_moments(np.array(sent), self.contributors, [layer.contributors > 0 for layer in layers])
        masses = [layer.data_mass for layer in layers[: len(found)]]
        return theory_record(self._setting.layers, found, masses, estimated=True, seconds=perf_counter() - start)

    def _client_record(self, client: ClientId) -> ClientRecord:
        setting, layers = self._setting, self._setting.layers
        probes = [kept[client] for kept in (self._probed, self.piggybacked) if client in kept]
        failure, mask, update = self.failures.get(client), self._masks.get(client), self._updates.get(client)
        scores, measured = self._scores.get(client, ()), self._measured_at(client)
        peaks = [p.peak_bytes for p in probes] + ([update.peak_bytes] if update else [])
        up = sum(statistics_bytes(p.stats) for p in probes)
        up += update_bytes(layers.blocks(update.mask), setting.train.encoding) if update else 0
        down = self._state.versions.bytes_down(client, layers)
        return ClientRecord(
            round=self.round,
            client=client,
            num_examples=setting.profiles[client].num_examples,
            budget={unit: limit for unit, limit in setting.profiles[client].budget.items() if isfinite(limit)},
            mask=tuple(sorted(mask)) if mask is not None else (),
            scores=scores,
            probe_round=measured.round + 1 if measured and scores else None,
            probe_loss=measured.loss if measured else None,
            seconds_probe=sum((p.seconds for p in probes), 0.0),
            seconds_train=update.seconds if update else 0.0,
            update_norms=self._norms.get(client, {}),
            predicted=_priced(self._prices.get(client)),
            bytes_up=up,
            peak_bytes=max((p for p in peaks if p is not None), default=None) if None not in peaks else None,
            bytes_down=down + (mask_bytes(layers) if mask is not None else 0),
            failure=failure.reason if failure else None,
            failure_message=failure.message if failure else None,
            **({name: getattr(update, name) for name in _TOLD} if update else {}),
        )

    def _measured_at(self, client: ClientId) -> Probed | Measured | None:
        """Return what a client's scores of this round come from."""
        return self._measured.get(client) or self._probed.get(client)

    def _layer_records(self, weights: Weights) -> Iterator[LayerRecord]:
        """Yield one record per layer, then per ``always`` block; norms are measured, not assumed."""
        total = sum(rows for rows, _ in self.contributors.values())
        before = self._state.weights
        layers = self._setting.layers
        for index, block in enumerate(layers.trainable):
            few = self._few.get(block.name, 0)
            trained_by = [rows for rows, mask in self.contributors.values() if index >= len(layers) or index in mask]
            trained_by = [] if few else trained_by
            mass = sum(trained_by) / total
            yield LayerRecord(
                name=block.name,
                contributors=len(trained_by),
                data_mass=mass,
                chi2=chi2(mass),
                update_norm=_moved(block, before, weights),
                below_quorum=few,
            )


def _priced(price: Cost | None) -> dict[str, float]:
    return {} if price is None else {unit: value for unit, value in price.items() if isfinite(value)}


def _moved(block: Layer, before: Weights, after: Weights) -> float:
    moved = (name for name in block.tensor_names if after[name] is not before[name])
    return hypot(*(distance(after[name], before[name]) for name in moved))


def _certificate(selection: Selection) -> Mapping[str, float | str] | None:
    c = selection.certificate
    return None if c is None else {"objective": c.objective, "bound": c.bound, "gap": c.gap, "rule": c.rule}


def _peak_bytes() -> int:
    """Return the largest memory of this process so far: the allocator's on a GPU, the resident set elsewhere."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
