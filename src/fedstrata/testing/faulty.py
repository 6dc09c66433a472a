"""An engine that loses, delays, doubles, damages and lies, by seed and on a virtual clock: for tests of what survives.

It wraps any engine. Clients work at the same time: an answer arrives one latency after the request, plus its delay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.engines.local import failure
from fedstrata.engines.protocol import Engine
from fedstrata.testing.corrupt_replies import blocks_of, changed, different, outdated
from fedstrata.testing.faults import Fault, Kind, Plan, stream
from fedstrata.wire.assignment import asked_of
from fedstrata.wire.messages import Frame, Reject, Reply, Request
from fedstrata.wire.reply_frames import decode, encode

Message = Reply | Frame
Arrival = tuple[float, ClientId, Message]
"""When a message arrives, through whose channel, and what it is."""


class FaultyEngine:
    """Does to the messages of another engine what a plan says.

    Answers come in the order of their arrival, those of one moment by client name, and the clock moves to each. What
    arrives after the deadline is kept and comes first in the next ``send``, in whatever phase that is. A lost message
    never comes; a phase that lacks an answer lasts until its deadline, and ends at once if it has none.

    All requests of a ``send`` and their answers are held at the same time.

    Args:
        inner: Where clients execute. It is given no deadline, and answers each request once and in order.
        plan: What goes wrong.
        layers: All blocks, so that updates can be written as frames.
        seed: Of every draw, together with round, attempt, phase and client.
        latency: Seconds between a request and its answer where nothing goes wrong.
        until: From this round on (0-based) nothing goes wrong; ``None`` for never.
        frames: Whether sound messages travel as frames too; damaged ones always do.

    Example:
        >>> from fedstrata.wire.messages import Evaluate, Evaluated
        >>> from fedstrata.testing.faults import Exactly
        >>> from fedstrata.testing.scripted import ScriptedEngine
        >>> inner = ScriptedEngine(lambda r: Evaluated(r.client, r.round, 0.0, 1, 1))
        >>> plan = Exactly({("evaluate", 0, ClientId("b")): [Fault(Kind.LOSE_REPLY)]})
        >>> engine = FaultyEngine(inner, plan, LayerMap(()))
        >>> deadline = Deadline.after(10.0, engine.clock)
        >>> [reply.client for reply in engine.send([Evaluate(ClientId(c), 0, {}) for c in "abc"], deadline=deadline)]
        ['a', 'c']
        >>> engine.clock.now(), engine.counts
        (10.0, {'lose_reply': 1})
    """

    def __init__(
        self,
        inner: Engine,
        plan: Plan,
        layers: LayerMap,
        *,
        seed: int = 0,
        latency: float = 1.0,
        until: int | None = None,
        frames: bool = False,
    ) -> None:
        self._inner, self._plan, self._layers = inner, plan, layers
        self._seed, self._latency, self._until, self._frames = seed, latency, until, frames
        self._clock = VirtualClock()
        self._counts: Counter[str] = Counter()
        self._pending: list[Arrival] = []

    @property
    def clock(self) -> VirtualClock:
        """The clock that deadlines have to be told on; only this engine moves it."""
        return self._clock

    @property
    def repeatable(self) -> bool:
        """An answer that was lost does not come by asking again."""
        return False

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kind of fault really happened, and how many messages came ``late``: that a test bites."""
        return {str(kind): count for kind, count in self._counts.items() if count}

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Message]:
        """Yield what arrives by the deadline, first what arrived too late for the ``send`` before.

        Args:
            requests: Drawn at once; none of them asks a client twice.
            deadline: Told on this engine's clock; ``None`` waits for all that will ever come.
        """
        asked, end = list(requests), deadline or Deadline(clock=self._clock)
        late, self._pending = self._pending, []
        queue, lost = self._arrivals(asked)
        try:
            while late:
                yield late.pop(0)[2]
            while queue and queue[0][0] <= end.at:
                at, _, message = queue.pop(0)
                self._clock.advance_to(at)
                yield message
            if (queue or lost) and isfinite(end.at):
                self._clock.advance_to(end.at)
        finally:
            self._counts["late"] += len(queue)
            self._pending = late + queue

    def close(self) -> None:
        """Close the engine inside; what has not arrived never will."""
        self._pending = []
        self._inner.close()

    def _arrivals(self, asked: Sequence[Request]) -> tuple[list[Arrival], bool]:
        """Have the clients answer; return what arrives, in order, and whether some client's answer never does."""
        quiet = not asked or (self._until is not None and asked[0].round >= self._until)
        faults = {} if quiet else self._plan.draw(asked, self._seed)
        kinds = {r.client: {fault.kind for fault in faults.get(r.client, ())} for r in asked}
        reached = [r for r in asked if not kinds[r.client] & {Kind.LOSE_REQUEST, Kind.CRASH}]
        answers: dict[ClientId, Message] = {reply.client: reply for reply in self._inner.send(reached)}
        mail = _Mail(asked, self._layers, self._clock.now(), self._latency, self._seed, self._frames, self._counts)
        found = [mail.of(request, answers.get(request.client), faults.get(request.client, ())) for request in asked]
        return sorted((a for mine in found for a in mine), key=lambda a: a[:2]), not all(found)


@dataclass(frozen=True, slots=True)
class _Mail:
    """Turns the answer to a request into the messages that arrive of it, and counts what it does."""

    asked: Sequence[Request]
    layers: LayerMap
    start: float
    latency: float
    seed: int
    frames: bool
    counts: Counter[str]

    def of(self, request: Request, answer: Message | None, faults: Sequence[Fault]) -> list[Arrival]:
        """Return what arrives of one answer; nothing if it is lost."""
        amounts = {fault.kind: fault.amount for fault in faults}
        for kind in (Kind.LOSE_REQUEST, Kind.LOSE_REPLY, Kind.CRASH):
            if kind in amounts:
                self.counts[kind] += 1
                if kind is not Kind.CRASH:
                    return []
                answer = failure(request, Reason.CLIENT_ERROR, "a fault made the client crash")
        if answer is None:
            return []
        rng = stream(self.seed, request, f"damage {request.client}")
        at = self._moment(amounts, rng)
        message = self._damaged(request, answer, faults, rng)
        return [(when, request.client, m) for when, m in self._more(request, message, at, amounts, rng)]

    def _moment(self, amounts: Mapping[Kind, float], rng: np.random.Generator) -> float:
        """Return when an answer arrives."""
        usual = self.latency
        if Kind.REORDER in amounts:
            self.counts[Kind.REORDER] += 1
            usual *= 2 * rng.random()
        self.counts[Kind.DELAY] += Kind.DELAY in amounts
        return self.start + usual + amounts.get(Kind.DELAY, 0.0)

    def _damaged(self, request: Request, answer: Message, faults: Sequence[Fault], rng: np.random.Generator) -> Message:
        """Return an answer as it is sent: first its values are made wrong, then its frame."""
        reply = answer if not isinstance(answer, Frame) else decode(answer.data, asked_of(request, self.layers))
        if isinstance(reply, Reject):
            return answer
        sound = reply
        for fault in faults:
            if (odd := changed(reply, fault, rng)) is not None:
                self.counts[fault.kind] += 1
                reply = odd
        kinds = {fault.kind for fault in faults}
        if Kind.MISNAME in kinds:
            self.counts[Kind.MISNAME] += 1
            reply = replace(reply, client=self._another(request.client, rng))
        broken = kinds & {Kind.MISNAME, Kind.TRUNCATE, Kind.FLIP}
        if not broken and not self.frames:
            return answer if reply is sound else reply
        data = answer.data if isinstance(answer, Frame) and reply is sound else self._written(request, reply)
        return Frame(request.client, self._cut(data, kinds, rng))

    def _cut(self, data: bytes, kinds: Set[Kind], rng: np.random.Generator) -> bytes:
        """Return a frame that was damaged on its way."""
        if Kind.FLIP in kinds:
            self.counts[Kind.FLIP] += 1
            at, bit = int(rng.integers(len(data))), int(rng.integers(8))
            data = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        if Kind.TRUNCATE in kinds:
            self.counts[Kind.TRUNCATE] += 1
            data = data[: int(rng.integers(len(data)))]
        return data

    def _more(
        self, request: Request, message: Message, at: float, amounts: Mapping[Kind, float], rng: np.random.Generator
    ) -> Iterator[tuple[float, Message]]:
        """Yield when a message arrives, and the copies, contradictions and leftovers that come with it."""
        yield at, message
        for _ in range(int(amounts.get(Kind.DUPLICATE, 0))):
            self.counts[Kind.DUPLICATE] += 1
            yield at + self.latency * rng.random(), message
        reply = message if not isinstance(message, Frame) else decode(message.data, asked_of(request, self.layers))
        if isinstance(reply, Reject):
            return
        other = different(reply) if Kind.CONFLICT in amounts else None
        if other is not None:
            self.counts[Kind.CONFLICT] += 1
            yield at + self.latency * rng.random(), self._sent(request, other)
        if Kind.STALE in amounts:
            self.counts[Kind.STALE] += 1
            yield self.start, self._sent(request, outdated(reply, rng))

    def _sent(self, request: Request, reply: Reply) -> Message:
        return Frame(request.client, self._written(request, reply)) if self.frames else reply

    def _written(self, request: Request, reply: Reply) -> bytes:
        expected = asked_of(request, self.layers)
        return encode(reply, blocks_of(reply, expected.blocks), expected.encoding)

    def _another(self, client: ClientId, rng: np.random.Generator) -> ClientId:
        """Return a client that was asked too, if there is one."""
        others = sorted({r.client for r in self.asked} - {client}) or [ClientId(f"{client}x")]
        return others[int(rng.integers(len(others)))]
