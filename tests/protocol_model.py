"""A run small enough for the protocol machine, and everything that its clients may say, sound or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.costs.layer_count import counted
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Mask, Role
from fedstrata.domain.reasons import Reason
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import ClientProfile
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.samplers.uniform import Uniform
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.selectors.ends import Full
from fedstrata.server.rules import Rules
from fedstrata.server.setting import Method, Setting
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.encodings import as_received
from fedstrata.wire.messages import Failure, Frame, Probed, Reply, TrainPlan, Update
from fedstrata.wire.reply_frames import encode
from fedstrata.wire.sizes import Encoding
from frames import block

LAYERS = LayerMap(
    (block("h.0", w=(2,)), block("h.1", w=(1, 2)), block("h.2", w=())), (block("head", Role.ALWAYS, w=(3,)),)
)
BLOCKS: tuple[Layer, ...] = (*LAYERS.layers, *LAYERS.always)
NAMES = [ClientId(f"c{i}") for i in range(6)]
ABSENT = ClientId("c9")
"""A client of the run that no round asks."""


def machine_setting(clients: Sequence[ClientId], rules: Rules, encoding: Encoding) -> Setting:
    profiles = {c: ClientProfile(rows_of(c), Cost.limits(layers=3)) for c in (*clients, ABSENT)}
    return Setting(
        name="machine",
        layers=LAYERS,
        method=Method(GradientNorm(), counted(3), Full(), LayerwiseMean()),
        profiles=profiles,
        sampler=Uniform(),
        seeds=Seeds(0),
        train=TrainPlan(encoding=encoding),
        rules=rules,
    )


def zero_weights() -> dict[TensorName, torch.Tensor]:
    return {spec.name: torch.zeros(spec.shape) for b in BLOCKS for spec in b.tensors}


def rows_of(client: ClientId) -> int:
    return int(client[1:]) + 1


def mask_of(client: ClientId, round: int, attempt: int) -> Mask:
    """Return a mask that differs between clients, rounds and attempts."""
    bits = (rows_of(client) + 3 * round + 5 * attempt) % 8
    return frozenset(i for i in range(3) if bits >> i & 1)


def piggybacks(client: ClientId, round: int) -> bool:
    """Return whether statistics are to be piggybacked on a client's update."""
    return (rows_of(client) + round) % 3 == 0


def value_of(client: ClientId, round: int, attempt: int, variant: int) -> float:
    """Return what every element of a client's deltas is."""
    return (rows_of(client) - 3 + 8 * variant + round + 2 * attempt) / 4


def answer(a: Assignment, variant: int = 0) -> Reply:
    """Return a sound answer; variants of it are conflicting answers."""
    if a.phase == "probe":
        stats = tuple(LayerStats((TensorStats(b.tensors[0].elements, 1.0, 1.0 + variant),), 4) for b in a.blocks)
        return Probed(a.client, a.round, stats, 1.0, 0.0, origin=a.origin)
    value = value_of(a.client, a.round, a.origin.attempt, variant)
    deltas = {s.name: torch.full(s.shape, value) for b in a.blocks for s in b.tensors}
    return Update(
        client=a.client,
        round=a.round,
        mask=a.mask,
        deltas=as_received(deltas, a.encoding),
        num_examples=rows_of(a.client),
        steps=1,
        loss_first=1.0,
        loss_mean=1.0,
        seconds=0.0,
        origin=a.origin,
        piggybacked=_riding(a, variant),
    )


def _riding(a: Assignment, variant: int) -> Probed | None:
    if a.piggybacked is None:
        return None
    found = answer(a.piggybacked, variant)
    assert isinstance(found, Probed)
    return found


def framed(reply: Reply, a: Assignment, channel: ClientId | None = None) -> Frame:
    return Frame(channel or a.client, encode(reply, a.blocks, a.encoding))


STALE = ("run", "round", "attempt", "base", "phase")


def stale(a: Assignment, what: str) -> Reply:
    """Return a sound answer to something else."""
    if what == "phase":
        phase: Literal["probe", "train"] = "probe" if a.phase == "train" else "train"
        return replace(answer(replace(a, phase=phase)), origin=a.origin)
    if what == "round":
        return replace(answer(a), round=a.round + 1)
    origin = replace(a.origin, attempt=a.origin.attempt + 1) if what == "attempt" else a.origin
    origin = replace(a.origin, run="elsewhere") if what == "run" else origin
    origin = replace(a.origin, base="0" * 64) if what == "base" else origin
    return replace(answer(a), origin=origin)


SPOILED = {
    "value": Reason.NONFINITE,
    "loss": Reason.NONFINITE,
    "huge": Reason.NORM,
    "schema": Reason.SCHEMA,
    "passenger": Reason.SCHEMA,
    "failure": Reason.CLIENT_ERROR,
}


def spoiled(a: Assignment, how: str) -> Reply:
    """Return what a client says in earnest and what loses it."""
    if how == "failure":
        return Failure(a.client, a.round, a.phase, Reason.CLIENT_ERROR, "no memory", a.origin)
    sound = answer(a)
    if isinstance(sound, Probed):
        if how == "loss":
            return replace(sound, loss=float("nan"))
        if how in ("schema", "passenger"):
            return replace(sound, stats=sound.stats[1:])
        norm = float("inf") if how == "value" else 1e300
        stats = LayerStats((replace(sound.stats[-1].tensors[0], grad_sq=norm),), 4)
        return replace(sound, stats=(*sound.stats[:-1], stats))
    assert isinstance(sound, Update)
    if how == "loss":
        return replace(sound, loss_mean=float("inf"))
    if how == "schema":
        return replace(sound, num_examples=sound.num_examples + 1)
    if how == "passenger":
        unasked = answer(replace(a, phase="probe"))
        return replace(
            sound, piggybacked=unasked if sound.piggybacked is None and isinstance(unasked, Probed) else None
        )
    last = list(sound.deltas)[-1]
    value = float("nan") if how == "value" else 1e30
    return replace(sound, deltas={**sound.deltas, last: torch.full_like(sound.deltas[last], value)})
