"""The rows of the fault matrix, each as one function of a seed: CI plays a few seeds, the soak all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from fedstrata.domain.ids import ClientId
from fedstrata.testing.faults import Fault, Kind, Plan, Share
from fedstrata.wire.messages import PhaseName, Request
from matrix import DEADLINE, Outcome, play

LOSSES: Sequence[tuple[str, Kind, PhaseName]] = (
    ("statistics on their way up", Kind.LOSE_REPLY, "probe"),
    ("model and mask on their way down", Kind.LOSE_REQUEST, "train"),
    ("local training", Kind.CRASH, "train"),
    ("update on its way up", Kind.LOSE_REPLY, "train"),
    ("evaluation", Kind.LOSE_REPLY, "evaluate"),
)
"""Where 30 % of the clients vanish."""

DAMAGES = (
    Kind.NONFINITE, Kind.HUGE, Kind.WRONG_SHAPE, Kind.WRONG_NAME, Kind.ROWS_LIE, Kind.MISNAME, Kind.TRUNCATE, Kind.FLIP,
)  # fmt: skip
"""What makes an answer worth nothing."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a loss of clients did to a run, relative to the same run without."""

    gain: float
    calm_gain: float
    lost: int
    seconds: float
    slowest_round: float


def vanish(folder: Path, kind: Kind, phase: PhaseName, seed: int, calm: Outcome) -> Loss:
    """Lose 30 % of the clients in one phase of every round of the calm run, and check what must hold in each."""
    run = play(folder, Share(0.3, Fault(kind), frozenset({phase})), seed=seed, rounds=len(calm.clocked.ends))
    rounds = run.clocked.ends
    lengths = [b - a for a, b in pairwise(rounds)]
    assert run.result.state == "finished"
    assert max(lengths) <= 3 * DEADLINE
    assert run.watched.rounds == len(rounds) == len(calm.clocked.ends)
    assert run.watched.largest < 1e-6
    for record in run.clocked.records:
        still = [layer for layer in record.layers if layer.contributors == 0]
        assert all(layer.update_norm == 0 for layer in still)
    assert run.losses.get("LATE", 0) + run.losses.get("CLIENT_ERROR", 0) == run.counts[kind] > 0
    return Loss(run.gain, calm.gain, run.counts[kind], rounds[-1], max(lengths))


@dataclass(frozen=True, slots=True)
class Seeded:
    """Draws a plan's faults by a seed of its own, so that the run itself stays the same."""

    plan: Plan
    seed: int

    def draw(self, requests: Sequence[Request], seed: int) -> Mapping[ClientId, Sequence[Fault]]:
        return self.plan.draw(requests, self.seed + 1000)


def same_as_calm(
    folder: Path, faults: Plan, calm: str, *, seed: int, frames: bool, rounds: int = 3, steps: int = 5
) -> Outcome:
    """Play under faults that must not change a bit."""
    run = play(folder, faults, seed=seed, rounds=rounds, steps=steps, frames=frames)
    assert run.hash == calm
    return run


def as_if_lost(folder: Path, kind: Kind, phase: PhaseName, seed: int, lost: Outcome, *, steps: int = 5) -> Outcome:
    """Play with three worthless answers per round, to the bits of the run in which the same three were never sent."""
    share = Share(0.3, Fault(kind, 1000.0), frozenset({phase}))
    spoilt = play(folder, share, seed=seed, rounds=len(lost.clocked.ends), steps=steps)
    assert spoilt.counts[kind] > 0
    assert spoilt.hash == lost.hash
    return spoilt


def lost_in(folder: Path, phase: PhaseName, seed: int, *, rounds: int = 3, steps: int = 5) -> Outcome:
    """Play with three answers per round that are never sent."""
    return play(folder, Share(0.3, Fault(Kind.LOSE_REPLY), frozenset({phase})), seed=seed, rounds=rounds, steps=steps)


def accepted_once(folder: Path) -> int:
    """Check in the journal that no key was accepted twice and that its round counts once; return the contributions."""
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    keys = [tuple(r["key"].values()) for r in records if r["kind"] == "accept"]
    assert len(keys) == len(set(keys))
    return len(keys)


def one_thread() -> None:
    """The bits of a run depend on torch's threads."""
    torch.set_num_threads(1)
