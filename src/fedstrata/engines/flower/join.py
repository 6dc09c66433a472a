"""Joining: before the first round each site says how many rows it has, what it can pay and what it will not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Protocol

from flwr.serverapp import Grid

from fedstrata.domain.ids import ClientId
from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.engines.flower.envelope import Envelope, words
from fedstrata.engines.flower.roster import Node
from fedstrata.engines.flower.traffic import Exchange, Note
from fedstrata.engines.flower.transport import Lost, Sent, Transport
from fedstrata.wire.declaration import Declaration

KIND = "query.join"
"""Flower's message type of it."""
_LOOK = 2.0


class Registered(Protocol):
    """Every site that may take part, and where it is (``roster.py``)."""

    @property
    def names(self) -> tuple[ClientId, ...]:
        """Every site, ascending."""
        ...

    @property
    def online(self) -> tuple[ClientId, ...]:
        """Those that are connected."""
        ...

    def node(self, client: ClientId) -> Node | None:
        """Return a site's node if it is connected."""
        ...

    def refresh(self, grid: Grid) -> None:
        """Ask Flower which nodes are connected."""
        ...


@dataclass(slots=True)
class Joined:
    """The sites that take part, and why others do not.

    Attributes:
        declarations: The word of each site that joined, ascending by name.
        refused: Why a site did not join, by name.
    """

    declarations: dict[ClientId, Declaration] = field(default_factory=dict)
    refused: dict[ClientId, str] = field(default_factory=dict)


def join(
    grid: Grid,
    sites: Registered,
    *,
    said: Mapping[str, Any],
    note: Note,
    tell: Callable[[str], None],
    timeout: float,
    clock: Clock = MONOTONIC,
    poll: float = 0.25,
    wait: Callable[[float], None] = sleep,
) -> Joined:
    """Ask every registered site to join, and wait until all have answered or the time is up.

    Args:
        grid: Flower's.
        sites: Who may take part.
        said: What every message says: the run and its specification.
        note: Is told of each exchange.
        tell: Is told what happens, in sentences.
        timeout: Seconds to wait for sites that are not there.
        clock: Whose seconds.
        poll: Seconds between two looks for answers.
        wait: Sleeps.
    """
    joined, transport, deadline = Joined(), Transport(grid), Deadline.after(timeout, clock)
    asked: dict[ClientId, Node] = {}
    lost: dict[ClientId, str] = {}
    looked = -_LOOK + clock.now()
    while len(joined.declarations) < len(sites.names) and not deadline.passed():
        if clock.now() - looked >= _LOOK:
            looked = clock.now()
            sites.refresh(grid)
            _ask(sites, asked, joined, transport=transport, said=said, ttl=deadline.left() + 60.0)
        for sent, answer in transport.receive():
            if asked.get(sent.client) != sent.node:
                continue  # the site was started anew since, and is asked anew
            if isinstance(answer, Lost) and answer.again:
                lost[sent.client] = answer.why
                del asked[sent.client]
            else:
                _take(joined, sent, answer, note=note, tell=tell, of=len(sites.names))
        if len(joined.declarations) + len(joined.refused) == len(sites.names):
            break
        wait(min(poll, deadline.left()))
    for name in sites.names:
        if name not in joined.declarations:
            why = "it did not answer" if name in asked else "it is not connected"
            joined.refused.setdefault(name, lost.get(name, why))
    joined.declarations = dict(sorted(joined.declarations.items()))
    return joined


def _ask(
    sites: Registered,
    asked: dict[ClientId, Node],
    joined: Joined,
    *,
    transport: Transport,
    said: Mapping[str, Any],
    ttl: float,
) -> None:
    """Ask the sites that have come, or have come back, since the last look."""
    for name in sites.online:
        node = sites.node(name)
        if node is None or asked.get(name) == node or name in joined.declarations:
            continue
        joined.refused.pop(name, None)  # it was started anew: perhaps with what it lacked
        if transport.send(name, node, KIND, Envelope({**said, "kind": "join", "client": name}, {}), ttl=ttl):
            asked[name] = node


def _take(
    joined: Joined, sent: Sent, answer: Envelope | Lost, *, note: Note, tell: Callable[[str], None], of: int
) -> None:
    name, why = sent.client, ""
    if isinstance(answer, Lost):
        why = answer.why
    elif answer.said.get("kind") != "declaration":
        why = words(answer.said.get("message")) or "it answers something else than a declaration"
    else:
        word = {key: value for key, value in answer.said.items() if key in Declaration.__dataclass_fields__}
        try:
            joined.declarations[name] = Declaration.from_json(word)
        except ValueError as error:
            why = f"its declaration cannot be used: {error}"
    if why:
        joined.refused[name] = why
        tell(f"{name} does not take part: {why}")
    else:
        rows = joined.declarations[name].num_examples
        tell(f"{name} joined with {rows:,} training rows ({len(joined.declarations)} of {of} sites)")
    seconds = monotonic() - sent.at
    note(Exchange(name, "join", 0, (), 0, 0, seconds, outcome=why or "ok"))
