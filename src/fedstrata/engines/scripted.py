"""An engine that answers from a script, without models or data: for tests of servers, selectors and aggregators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fedstrata.domain.messages import Reply, Request


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """Replies with whatever ``script`` returns for a request.

    Attributes:
        script: Called once per request, in order.

    Example:
        >>> from fedstrata.domain.messages import Evaluate, Evaluated
        >>> engine = ScriptedEngine(lambda r: Evaluated(r.client, r.round, 0.0, 1, 1))
        >>> [reply.correct for reply in engine.send([Evaluate("a", 0, {})])]
        [1]
    """

    script: Callable[[Request], Reply]

    def send(self, requests: Iterable[Request], *, deadline: float | None = None) -> Iterator[Reply]:
        """Yield the scripted reply of each request; the deadline is not looked at."""
        for request in requests:
            yield self.script(request)
