"""The engine over Flower: sites execute at the same time, each on its own machine; answers come as they are ready.

A site that is not there, or was started anew while it worked, is asked again when it is back, until the deadline or for
as long as ``patience`` says. The same answer twice counts once (``server/replies.py``), so asking again is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isinf
from time import monotonic, sleep
from typing import Any, Protocol

from flwr.serverapp import Grid

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.reasons import Reason
from fedstrata.domain.rounds import number
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.flower.cache_index import CacheIndex
from fedstrata.engines.flower.envelope import Envelope, words
from fedstrata.engines.flower.roster import Node
from fedstrata.engines.flower.traffic import Exchange, Note
from fedstrata.engines.flower.transport import Lost, Sent, Transport
from fedstrata.engines.local import failure
from fedstrata.wire.assignment import asked_of
from fedstrata.wire.messages import Failure, Frame, PhaseName, Request, phase_of
from fedstrata.wire.reply_frames import frame_limit
from fedstrata.wire.requests import to_json

KINDS: Mapping[PhaseName, str] = {"probe": "query.probe", "train": "train.layers", "evaluate": "evaluate"}
"""Flower's message type of each phase."""
MOST_ASKED = 3
"""How often a site is asked the same, if it is back or lacks layers that it was thought to hold."""
_GRACE = 60.0  # seconds for which Flower keeps a message beyond its deadline
_MOST_SECONDS = 1e9  # a number of 4,000 digits is a whole number that no float holds
_LOOK = 3.0  # seconds between two looks at who is connected


class Sites(Protocol):
    """Names and nodes (``roster.py``)."""

    def node(self, client: ClientId) -> Node | None:
        """Return a site's node if it is connected."""
        ...

    def refresh(self, grid: Grid) -> None:
        """Ask Flower which nodes are connected."""
        ...


@dataclass(slots=True)
class _Open:
    """A request without an outcome."""

    request: Request
    since: float
    asked: int = 0
    down: tuple[LayerName, ...] = ()
    why: str = "the site is not connected"
    reply: Frame | Failure | None = field(default=None)


class FlowerEngine:
    """Has sites execute, as Flower messages.

    Args:
        grid: Flower's, from ``@app.main()``.
        sites: Who is who.
        layers: All blocks.
        held: Content hashes that each site said that it holds.
        said: What every message says: the run and its specification.
        note: Is told of each exchange.
        clock: The clock of deadlines.
        patience: Seconds that a site may take to come back once it is gone; within the deadline in any case.
        poll: Seconds between two looks for answers.
        wait: Sleeps; another one makes tests of it quick.

    Example:
        ``tests/engines/flower/test_engine.py`` has one with a grid in memory.
    """

    def __init__(
        self,
        grid: Grid,
        sites: Sites,
        layers: LayerMap,
        *,
        held: Mapping[ClientId, Iterable[str]],
        said: Mapping[str, Any],
        note: Note,
        clock: Clock = MONOTONIC,
        patience: float = 60.0,
        poll: float = 0.25,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self._grid, self._sites, self._layers, self._said = grid, sites, layers, said
        self._cache_index, self._transport, self._note = CacheIndex(layers, held), Transport(grid), note
        self._clock, self._patience, self._poll, self._wait = clock, patience, poll, wait

    @property
    def clock(self) -> Clock:
        """The clock of deadlines."""
        return self._clock

    @property
    def repeatable(self) -> bool:
        """Machines differ and may be gone tomorrow: what a site answered is kept."""
        return False

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Frame | Failure]:
        """Yield the sites' answers as they come; sites that have not answered by the deadline are left out."""
        deadline = deadline or Deadline(clock=self._clock)
        self._sites.refresh(self._grid)
        waiting: dict[ClientId, _Open] = {}
        for request in requests:
            waiting[request.client] = one = _Open(request, self._clock.now())
            self._ask(one, deadline)
        looked = self._clock.now()
        try:
            while waiting and not deadline.passed():
                for sent, answer in self._transport.receive():
                    if sent.client in waiting:
                        self._take(waiting[sent.client], sent, answer, deadline)
                if self._clock.now() - looked >= _LOOK:
                    self._look_after(waiting, deadline)
                    looked = self._clock.now()
                done = [client for client, one in waiting.items() if one.reply is not None]
                yield from (reply for c in done if (reply := waiting.pop(c).reply) is not None)
                if waiting:
                    self._wait(min(self._poll, deadline.left()))
        finally:
            self._transport.forget()

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self, one: _Open, deadline: Deadline, extra: Iterable[LayerName] = ()) -> None:
        """Send a request with the blocks that its site lacks, if the site is there."""
        request, node = one.request, self._sites.node(one.request.client)
        if node is None:
            return
        one.asked += 1
        manifest = self._cache_index.manifest(request.weights)
        names = tuple(dict.fromkeys([*self._cache_index.lacked(request.client, manifest), *extra]))
        said = {**self._said, "kind": "work", "request": to_json(request), "manifest": manifest}
        envelope = Envelope(said, self._cache_index.blobs(names, manifest, request.weights))
        left = deadline.left()
        ttl = None if isinf(left) else left + _GRACE
        if self._transport.send(request.client, node, KINDS[phase_of(request)], envelope, ttl=ttl):
            one.down = names
        else:
            one.why = "Flower did not take the message"

    def _take(self, one: _Open, sent: Sent, answer: Envelope | Lost, deadline: Deadline) -> None:
        """Settle a request by its answer, or ask again."""
        if isinstance(answer, Lost):
            one.why, one.since = answer.why, self._clock.now()
            if not self._transport.sent_to(sent.client) and (not answer.again or one.asked >= MOST_ASKED):
                one.reply = failure(one.request, Reason.CLIENT_ERROR, answer.why)
        elif answer.said.get("kind") == "missing" and one.asked < MOST_ASKED:
            self._ask_for_more(one, answer, deadline)
        else:
            one.reply = self._reply(one, answer)
        self._tell(one, sent, answer)

    def _reply(self, one: _Open, answer: Envelope) -> Frame | Failure:
        request, said = one.request, answer.said
        if said.get("kind") != "frame":
            kind = words(said.get("kind"), 20)
            why = words(said.get("message")) or f"the site answers '{kind}' and no frame"
            return failure(request, Reason.CLIENT_ERROR, why)
        if answer.bytes > (limit := frame_limit(asked_of(request, self._layers))):
            return failure(request, Reason.SIZE, f"an answer of {answer.bytes} bytes; at most {limit} were asked for")
        self._cache_index.got(request.client, self._cache_index.manifest(request.weights))
        return Frame(request.client, b"".join(answer.blobs.values()))

    def _ask_for_more(self, one: _Open, answer: Envelope, deadline: Deadline) -> None:
        """Send the blocks that a site turned out to lack."""
        request = one.request
        manifest, blocks = self._cache_index.manifest(request.weights), answer.said.get("blocks")
        named = [name for name in manifest if isinstance(blocks, list) and name in blocks]
        self._cache_index.lost(request.client, named, manifest)
        self._ask(one, deadline, named)

    def _look_after(self, waiting: Mapping[ClientId, _Open], deadline: Deadline) -> None:
        """Ask sites that are back again, and give up those that have been away for too long."""
        self._sites.refresh(self._grid)
        for client, one in waiting.items():
            node, sent = self._sites.node(client), self._transport.sent_to(client)
            if one.reply is not None:
                continue
            if node is not None and all(s.node != node for s in sent):
                if one.asked < MOST_ASKED:
                    self._ask(one, deadline)  # it was away, or is started anew and has forgotten what it was asked
                else:
                    why = f"the site was asked {one.asked} times and started anew each time" if sent else one.why
                    one.reply = failure(one.request, Reason.CLIENT_ERROR, why)
            elif not sent and self._clock.now() - one.since > self._patience:
                one.reply = failure(one.request, Reason.CLIENT_ERROR, one.why)

    def _tell(self, one: _Open, sent: Sent, answer: Envelope | Lost) -> None:
        request, phase = one.request, phase_of(one.request)
        lost = answer.why if isinstance(answer, Lost) else ""
        kind = "" if isinstance(answer, Lost) else words(answer.said.get("kind"), 20)
        self._note(
            Exchange(
                client=request.client,
                phase=phase,
                round=number(phase, request.round),
                layers_down=one.down,
                bytes_down=sent.bytes,
                bytes_up=0 if isinstance(answer, Lost) else answer.bytes,
                seconds=monotonic() - sent.at,
                seconds_work=0.0 if isinstance(answer, Lost) else _seconds(answer),
                outcome=lost or ("ok" if kind == "frame" else kind),
            )
        )


def _seconds(answer: Envelope) -> float:
    value = answer.said.get("seconds", 0.0)
    return float(value) if isinstance(value, int | float) and 0 <= value < _MOST_SECONDS else 0.0
