"""Toy runs that crash tests play: what is saved how often, what is kept, and clients that fail on purpose."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.local import LocalEngine, failure
from fedstrata.engines.protocol import Engine
from fedstrata.selectors.consensus import Consensus
from fedstrata.server.rules import Rules
from fedstrata.server.run import Run, RunResult
from fedstrata.wire.messages import Reply, Request, Update, Weights, phase_of
from small_runs import SIZES, essence, events, toy_run
from toy_runs import toy_engine
from toys import toy_clients, toy_model

ROUNDS = 4
SALT = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to play the toy run.

    Attributes:
        checkpoint_every: Rounds between two checkpoints.
        rules: Quorums, retries, whether answers are kept.
        flaky: Whether some clients fail and some stay silent, by phase, round, attempt and client.
        fickle: Whether a client that is asked again in another process answers something else.
        piggyback: Whether the probe for the next round is piggybacked on an update.
    """

    checkpoint_every: int = 1
    rules: Rules = field(default_factory=Rules)
    flaky: bool = False
    fickle: bool = False
    piggyback: bool = False


SKIPPING = Rules(quorum=2, retries=1, on_abandon="skip")
VARIANTS: Mapping[str, Variant] = {
    "plain": Variant(),
    "kept": Variant(checkpoint_every=3, rules=Rules(keep_updates=True)),
    "layer quorum": Variant(rules=Rules(layer_quorum=2, keep_updates=False)),
    "flaky": Variant(rules=replace(SKIPPING, keep_updates=False), flaky=True),
    "flaky, kept": Variant(checkpoint_every=3, rules=replace(SKIPPING, keep_updates=True), flaky=True),
    "flaky, layer quorum": Variant(rules=replace(SKIPPING, layer_quorum=2), flaky=True),
    "fickle": Variant(checkpoint_every=2, fickle=True),
    "piggybacking": Variant(piggyback=True),
    "piggybacking, flaky, kept": Variant(
        checkpoint_every=3, rules=replace(SKIPPING, keep_updates=True), flaky=True, piggyback=True
    ),
}


@dataclass(frozen=True, slots=True)
class Flaky:
    """An engine that loses answers: one in eight fails, one in eight never comes, always the same ones."""

    inner: LocalEngine

    @property
    def clock(self) -> Clock:
        return MONOTONIC

    @property
    def repeatable(self) -> bool:
        return True

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply]:
        for request in requests:
            chance = _chance(request)
            if chance == 0:
                yield failure(request, Reason.CLIENT_ERROR, "it is a bad day")
            elif chance > 1:
                yield from self.inner.send([request], deadline=deadline)

    def close(self) -> None:
        self.inner.close()


def _chance(request: Request) -> int:
    name = f"{SALT} {phase_of(request)} {request.round} {request.origin.attempt} {request.client}"
    return hashlib.sha256(name.encode()).digest()[0] % 8


@dataclass(frozen=True, slots=True)
class Fickle:
    """An engine of clients that do not repeat themselves: what they train depends on the process that asks."""

    inner: LocalEngine

    @property
    def clock(self) -> Clock:
        return MONOTONIC

    @property
    def repeatable(self) -> bool:
        return False

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply]:
        factor = 1 + (os.getpid() % 1000) / 1e6
        for reply in self.inner.send(requests, deadline=deadline):
            if isinstance(reply, Update):
                reply = replace(reply, deltas={n: d * factor for n, d in reply.deltas.items()})
            yield reply

    def close(self) -> None:
        self.inner.close()


def prepared(folder: Path, variant: Variant) -> tuple[Run, Weights]:
    """Return a run of three of four clients a round, with dropout and held-out rows."""
    return toy_run(
        folder,
        selector=Consensus(),
        rounds=ROUNDS,
        checkpoint_every=variant.checkpoint_every,
        engine=_engine(variant),
        dropout=0.2,
        per_round=3,
        rules=variant.rules,
        piggyback=variant.piggyback,
    )


def _engine(variant: Variant) -> Engine:
    inner = toy_engine(toy_model(dropout=0.2), toy_clients(SIZES, held_out=3))
    if variant.flaky:
        return Flaky(inner)
    return Fickle(inner) if variant.fickle else inner


def play(folder: Path, variant: Variant) -> RunResult:
    """Start the run, or go on with it if there is anything of it."""
    there = (folder / "journal.jsonl").exists()
    run, weights = prepared(folder, variant)
    return run.resume(weights) if there else run.start(weights)


def outcome(result: RunResult) -> dict[str, Any]:
    """Return all that two equal runs share, as JSON can hold it, and what counted more or less than once."""
    bits = {name: tensor.numpy().tobytes().hex() for name, tensor in sorted(result.weights.items())}
    found = {
        "state": result.state,
        "weights": hashlib.sha256(json.dumps(bits).encode()).hexdigest(),
        **essence(result.folder),
        "not once": not_once(result.folder),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def not_once(folder: Path) -> list[str]:
    """Return what is wrong with the accounts of a finished run: an answer with two contents, or counted not once.

    An update counts if the log has its client, in a round that was committed, with a norm for each trained block.
    """
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    contents: dict[tuple[int, int, str, str], set[str]] = {}
    for r in records:
        if r["kind"] == "accept":
            key = r["key"]
            contents.setdefault((key["round"] + 1, key["attempt"], key["phase"], key["client"]), set()).add(r["sha256"])
    wrong = [f"{key} has {len(hashes)} contents" for key, hashes in contents.items() if len(hashes) > 1]
    rounds = [(e["round"], e["attempt"]) for e in events(folder, "round") if e["committed"]]
    numbers = [e["round"] for e in events(folder, "round")]
    wrong += [f"round {n} is logged {k} times" for n, k in Counter(numbers).items() if k > 1]
    attempt = dict(rounds)
    counted = Counter((e["round"], e["client"]) for e in events(folder, "client") if e["update_norms"])
    accepted = {(r, c) for r, a, phase, c in contents if phase == "train" and attempt.get(r) == a}
    wrong += [f"{key} counted {k} times" for key, k in counted.items() if k != 1]
    return wrong + [f"{key} counted or accepted, not both" for key in sorted(accepted ^ set(counted))]
