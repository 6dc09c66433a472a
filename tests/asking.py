"""Requests of every phase for the layers of ``frames``, a client that answers them soundly, and faults between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId
from fedstrata.domain.stats import Statistic
from fedstrata.testing.faults import Exactly, Fault, Faults, Kind, Plan
from fedstrata.testing.faulty import FaultyEngine, Message
from fedstrata.testing.scripted import ScriptedEngine
from fedstrata.wire.admission import admit, belongs
from fedstrata.wire.assignment import Assignment, asked_of
from fedstrata.wire.encodings import as_received
from fedstrata.wire.messages import (
    Evaluate,
    Evaluated,
    Frame,
    PhaseName,
    Probe,
    ProbePlan,
    Reject,
    Reply,
    Request,
    Train,
    TrainPlan,
)
from fedstrata.wire.reply_frames import decode
from fedstrata.wire.sizes import Encoding
from frames import LAYERS, MASK, ORIGIN, deltas, probed, update
from toys import named

TEN = named(*"abcdefghij")
NOTHING = Faults()
PHASES: tuple[PhaseName, ...] = ("probe", "train", "evaluate")


def answer(request: Request) -> Reply:
    """Return a sound answer, the same every time."""
    match request:
        case Probe():
            return replace(probed(), client=request.client, round=request.round)
        case Train():
            sent = as_received(deltas(), request.plan.encoding)
            piggybacked = replace(probed(), client=request.client, round=request.round) if request.probe else None
            return replace(update(), client=request.client, round=request.round, deltas=sent, piggybacked=piggybacked)
        case Evaluate():
            return Evaluated(request.client, request.round, 12.5, 3, 8)


def ask(phase: PhaseName, *clients: ClientId, round: int = 2, encoding: Encoding = Encoding.FLOAT32) -> list[Request]:
    match phase:
        case "probe":
            return [
                Probe(c, round, {}, ProbePlan(statistics=frozenset(Statistic), sketch=Hashing(0, 16)), ORIGIN)
                for c in clients
            ]
        case "train":
            return [Train(c, round, {}, MASK, TrainPlan(encoding=encoding), ORIGIN) for c in clients]
        case "evaluate":
            return [Evaluate(c, round, {}, ORIGIN) for c in clients]


def engine(plan: Plan = NOTHING, *, seed: int = 0, until: int | None = None, frames: bool = False) -> FaultyEngine:
    return FaultyEngine(ScriptedEngine(answer), plan, LAYERS, seed=seed, until=until, frames=frames)


def one(kind: Kind, *, amount: float = 1.0, phase: PhaseName = "train", client: ClientId = TEN[1]) -> Exactly:
    """Return a plan in which one thing goes wrong, in round 2."""
    return Exactly({(phase, 2, client): [Fault(kind, amount)]})


def names(messages: Sequence[Message]) -> list[str]:
    return [message.client for message in messages]


def verdict(message: Message, expected: Assignment) -> str:
    """Return what the server makes of a message: the reason of its refusal, or ``sound``."""
    if isinstance(message, Frame):
        found = decode(message.data, expected)
        return found.reason if isinstance(found, Reject) else "sound"
    odd = belongs(message, expected) or admit(message, expected)
    return odd.reason if odd else "sound"


def expected_of(request: Request) -> Assignment:
    """Return what the server would expect: 7 training and 8 held-out rows, and no update over 1e6."""
    rows = 8 if isinstance(request, Evaluate) else 7
    return replace(asked_of(request, LAYERS), num_examples=rows, max_norm=1e6)
