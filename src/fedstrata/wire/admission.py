"""Admission: an answer is validated whole before one number of it is used.

The server knows what it asked for, so an answer has to be exactly that: this client, this piece of work, these names
and shapes, finite values, the rows that the client declared, and an update no larger than updates may be. Finite is not
enough: every number has a range that no honest client leaves, narrow enough for the sums over all clients to be finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, sqrt

import torch

from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import Layer
from fedstrata.domain.reasons import Reason
from fedstrata.domain.rounds import number
from fedstrata.domain.stats import LayerStats, Statistic, TensorStats
from fedstrata.parsing.typed import shown
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.measures import measure
from fedstrata.wire.messages import (
    CLAIMS,
    MOST_LOSS,
    MOST_ROWS,
    Evaluated,
    Probed,
    Reject,
    Reply,
    Update,
    phase_of,
)

_MOST_SQUARE = torch.finfo(torch.float32).max ** 2
"""No square of a float32 is larger; without a limit, finite statistics could add up to an infinite score."""

_SLACK, _TINY = 1e-3, 1e-30
"""What rounding to float32 may add to the square of a sketch, relative and absolute."""

Norms = Mapping[TensorName, float]
"""Euclidean norm of each tensor's delta."""


def belongs(reply: Reply, expected: Assignment) -> Reject | None:
    """Return why a reply is no answer to this assignment, whatever it holds."""
    if reply.client != expected.client:
        return Reject(Reason.AUTH, f"it names client {reply.client[:64]!r}, and {expected.client} sent it")
    phase = phase_of(reply)
    if (reply.round, reply.origin, phase) == (expected.round, expected.origin, expected.phase):
        return None
    if reply.origin.run != expected.origin.run:
        return Reject(Reason.STALE, "it belongs to another run")
    got, wanted = (f"{p} of round {number(p, r)}, attempt {o.attempt}" for p, r, o in (
        (phase, reply.round, reply.origin), (expected.phase, expected.round, expected.origin)
    ))  # fmt: skip
    if got != wanted:
        return Reject(Reason.STALE, f"it answers {got}; asked for was {wanted}")
    return Reject(Reason.STALE, "it starts from other weights than it was sent")


def admit(reply: Reply, expected: Assignment) -> Reject | None:
    """Return why a reply's content is refused, or ``None`` if it is exactly what was asked for."""
    match reply:
        case Update():
            found = admit_update(reply, expected)
            return found if isinstance(found, Reject) else None
        case Probed():
            return _admit_probed(reply, expected)
        case Evaluated():
            return _admit_evaluated(reply, expected)
        case _:
            return None


def admit_update(update: Update, expected: Assignment) -> Norms | Reject:
    """Return the norm of each tensor of an update, or why it is refused."""
    wanted = {spec.name: spec for block in expected.blocks for spec in block.tensors}
    if update.mask != expected.mask or update.deltas.keys() != wanted.keys():
        odd = sorted(set(update.deltas) ^ set(wanted))[:3]
        return Reject(Reason.SCHEMA, f"the update holds other tensors than its mask: {odd or sorted(update.mask)}")
    if expected.num_examples is not None and update.num_examples != expected.num_examples:
        message = f"the update claims {update.num_examples} training rows; the client declared {expected.num_examples}"
        return Reject(Reason.SCHEMA, message)
    odd_claim = _admit_claims(update)
    if odd_claim is not None:
        return odd_claim
    for name, delta in update.deltas.items():
        if tuple(delta.shape) != wanted[name].shape or delta.dtype != torch.float32:
            got = f"{str(delta.dtype).removeprefix('torch.')} {tuple(delta.shape)}"
            return Reject(Reason.SCHEMA, f"{name} is {got}, expected float32 {wanted[name].shape}")
    refused = _admit_piggybacked(update.piggybacked, expected.piggybacked)
    return _norms(update, expected) if refused is None else refused


def _admit_piggybacked(probed: Probed | None, expected: Assignment | None) -> Reject | None:
    """Return why an update is refused for the statistics that are piggybacked on it, or are missing."""
    if expected is None:
        return None if probed is None else Reject(Reason.SCHEMA, "the update carries statistics; none were asked for")
    if probed is None:
        return Reject(Reason.SCHEMA, "the update lacks the statistics that were asked for with it")
    odd = belongs(probed, expected)
    return _admit_probed(probed, expected) if odd is None else Reject(Reason.SCHEMA, f"its statistics: {odd.message}")


def _norms(update: Update, expected: Assignment) -> Norms | Reject:
    """Return the norms, which are finite if all values are."""
    norms = {name: measure(delta).norm for name, delta in update.deltas.items()}
    for name, norm in norms.items():
        if not isfinite(norm):
            return Reject(Reason.NONFINITE, f"{name} holds values that are not finite")
    whole = sqrt(sum(norm**2 for norm in norms.values()))
    if whole > expected.max_norm:
        limit = f"the limit of {expected.max_norm:g} (upload.max_norm)"
        return Reject(Reason.NORM, f"the update's norm is {whole:.3g}, over {limit}")
    return norms


def _admit_probed(probed: Probed, expected: Assignment) -> Reject | None:
    if len(probed.stats) != len(expected.blocks):
        return Reject(Reason.SCHEMA, f"statistics of {len(probed.stats)} layers, expected {len(expected.blocks)}")
    odd = _admit_claims(probed)
    if odd is not None:
        return odd
    for block, stats in zip(expected.blocks, probed.stats, strict=True):
        if [t.elements for t in stats.tensors] != [spec.elements for spec in block.tensors]:
            return Reject(Reason.SCHEMA, f"the statistics of {block.name} are of other tensors than the layer has")
        if any(_measured(t) != expected.statistics - {Statistic.NORM} for t in stats.tensors):
            return Reject(Reason.SCHEMA, f"the statistics of {block.name} are not those that were asked for")
        if not 0 < stats.num_examples <= MOST_ROWS:
            return Reject(Reason.SCHEMA, f"the statistics of {block.name} are of {stats.num_examples} rows")
        if not isfinite(sum(map(abs, _values(stats)))):
            return Reject(Reason.NONFINITE, f"the statistics of {block.name} are not finite, or their sum is not")
        if any(t.grad_sq < 0 or t.weight_sq < 0 for t in stats.tensors):
            return Reject(Reason.SCHEMA, f"the statistics of {block.name} hold a negative squared norm")
        if any(_too_large(t) for t in stats.tensors):
            return Reject(Reason.NORM, f"the statistics of {block.name} are larger than float32 gradients can be")
        odd = _admit_sketch(block, stats, expected)
        if odd is not None:
            return odd
    return None


def _admit_sketch(block: Layer, stats: LayerStats, expected: Assignment) -> Reject | None:
    """Refuse a sketch that was not asked for, or of a longer gradient than the layer's squared norm allows."""
    if len(stats.sketch or ()) != expected.sketch or (stats.sketch is None) != (expected.sketch == 0):
        return Reject(Reason.SCHEMA, f"the sketch of {block.name} does not have {expected.sketch} numbers")
    square = sum(value * value for value in stats.sketch or ())
    if not isfinite(square):
        return Reject(Reason.NONFINITE, f"the sketch of {block.name} is not finite")
    if square > block.parameters * stats.grad_sq * (1 + _SLACK) + _TINY:
        return Reject(Reason.NORM, f"the sketch of {block.name} is larger than its gradient can be")
    return None


def _too_large(t: TensorStats) -> bool:
    """Return whether statistics are larger than float32 gradients give; a floor bounds what a variance divides."""
    squares, ratios = (t.weight_sq, t.grad_sq, t.half_dot or 0.0), (t.snr_sum or 0.0, t.noise_sum or 0.0)
    most = t.elements * _MOST_SQUARE
    return max(map(abs, squares)) > most or max(map(abs, ratios)) > max(most, _MOST_SQUARE) / _TINY


def _admit_claims(reply: Reply) -> Reject | None:
    """Return why a number that a client claims cannot be; one that is not finite is only called so if it counts."""
    for name, claim in CLAIMS[type(reply)].items():
        value = getattr(reply, name)
        if value is None:
            continue
        if claim.counts and isinstance(value, float) and not isfinite(value):
            return Reject(Reason.NONFINITE, claim.what.format(value))
        if not claim.least <= value <= claim.most:
            words = claim.what.format(shown(value))
            return Reject(Reason.SCHEMA, f"{words}, which is not from {claim.least:g} to {claim.most:g}")
    return None


def _measured(t: TensorStats) -> frozenset[Statistic]:
    """Return what a tensor's statistics hold beside its norm; half of a pair is worth nothing."""
    halves = {Statistic.HALVES} if t.half_dot is not None else set()
    samples = {Statistic.SAMPLES} if None not in (t.snr_sum, t.noise_sum) else set()
    return frozenset(halves | samples)


def _values(stats: LayerStats) -> list[float]:
    def all_of(t: TensorStats) -> list[float | None]:
        return [t.weight_sq, t.grad_sq, t.half_dot, t.snr_sum, t.noise_sum]

    return [value for t in stats.tensors for value in all_of(t) if value is not None]


def _admit_evaluated(evaluated: Evaluated, expected: Assignment) -> Reject | None:
    rows, loss = evaluated.num_examples, evaluated.loss_sum
    if expected.num_examples is not None and rows != expected.num_examples:
        said = f"the evaluation claims {rows} held-out rows; the client declared {expected.num_examples}"
        return Reject(Reason.SCHEMA, said)
    if not isfinite(loss):
        return Reject(Reason.NONFINITE, f"the loss is {loss}")
    if not 0 <= evaluated.correct <= rows or rows > MOST_ROWS:
        return Reject(Reason.SCHEMA, f"{evaluated.correct} of {rows} rows cannot be right")
    if not 0 <= loss <= rows * MOST_LOSS:
        most = f"it is from 0 to {MOST_LOSS:g} a row"
        return Reject(Reason.SCHEMA, f"a loss of {loss:g} over {rows} rows cannot be; {most}")
    return None
