"""Whether a reply answers an assignment, written apart from the code that decides it: the oracle of the fuzzers."""

from __future__ import annotations

from math import isfinite, sqrt

import torch

from fedstrata.domain.reasons import Reason
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.messages import Evaluated, Failure, Probed, Reply, Update


def is_answer(reply: Reply, expected: Assignment) -> bool:
    """Return whether a reply is all that an assignment asks for; written apart from the code that decides it."""
    if (reply.client, reply.round, reply.origin) != (expected.client, expected.round, expected.origin):
        return False
    match reply:
        case Failure():
            return reply.phase == expected.phase and reply.reason in tuple(Reason) and reply.message.isprintable()
        case Evaluated():
            return (
                expected.phase == "evaluate" and isfinite(reply.loss_sum) and 0 <= reply.correct <= reply.num_examples
            )
        case Probed():
            shapes = [[t.elements for t in s.tensors] for s in reply.stats]
            wanted = [[t.elements for t in b.tensors] for b in expected.blocks]
            sound = all(isfinite(s.grad_sq) and s.grad_sq >= 0 and s.num_examples > 0 for s in reply.stats)
            return expected.phase == "probe" and isfinite(reply.loss) and shapes == wanted and sound
        case Update():
            return expected.phase == "train" and is_update(reply, expected) and is_ridden(reply, expected)


def is_ridden(update: Update, expected: Assignment) -> bool:
    """Return whether exactly those statistics are piggybacked on an update that were to."""
    if update.piggybacked is None or expected.piggybacked is None:
        return update.piggybacked is None and expected.piggybacked is None
    return is_answer(update.piggybacked, expected.piggybacked)


def is_update(update: Update, expected: Assignment) -> bool:
    wanted = [(t.name, t.shape, torch.float32) for b in expected.blocks for t in b.tensors]
    got = [(name, tuple(delta.shape), delta.dtype) for name, delta in update.deltas.items()]
    values = [v for delta in update.deltas.values() for v in delta.flatten().tolist()]
    return (
        got == wanted
        and update.mask == expected.mask
        and update.num_examples == expected.num_examples
        and update.steps > 0
        and all(map(isfinite, [*values, update.loss_first, update.loss_mean, update.seconds]))
        and sqrt(sum(v * v for v in values)) <= expected.max_norm * (1 + 1e-12)
    )
