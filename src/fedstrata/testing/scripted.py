"""An engine that answers from a script, without models or data: for tests of servers, selectors and aggregators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fedstrata.engines.clock import MONOTONIC, Clock, Deadline
from fedstrata.wire.messages import Frame, Reply, Request


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """Replies with whatever ``script`` returns for a request, in the name of that request.

    Attributes:
        script: Called once per request, in order; what it returns is given the request's origin.
        clock: The clock of deadlines.

    Example:
        >>> from fedstrata.wire.messages import Evaluate, Evaluated
        >>> engine = ScriptedEngine(lambda r: Evaluated(r.client, r.round, 0.0, 1, 1))
        >>> [reply.correct for reply in engine.send([Evaluate("a", 0, {})])]
        [1]
    """

    script: Callable[[Request], Reply | Frame]
    clock: Clock = MONOTONIC

    @property
    def repeatable(self) -> bool:
        """A script is taken to say the same again."""
        return True

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        """Yield the scripted reply of each request; the deadline is not looked at."""
        for request in requests:
            reply = self.script(request)
            yield reply if isinstance(reply, Frame) else replace(reply, origin=request.origin)

    def close(self) -> None:
        """Nothing is held."""
