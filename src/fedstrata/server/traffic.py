"""Bytes on the wire: which blocks a client lacks, and what it sends.

A client starts with the pretrained checkpoint and without the ``always`` blocks (a new head is the server's). After
that it lacks exactly the blocks that changed since the round whose weights it saw last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.layers import LayerMap


@dataclass(frozen=True, slots=True)
class Traffic:
    """Versions of blocks, as round numbers.

    Attributes:
        changed: For each block that ever changed, the first round that starts with its present weights.
        seen: For each client that ever took part, the last round whose weights it was sent.

    Example:
        >>> t = Traffic(changed={"h.0": 3}, seen={"a": 2, "b": 3})
        >>> t.lacks("a", "h.0"), t.lacks("b", "h.0"), t.lacks("b", "h.1")
        (True, False, False)
    """

    changed: Mapping[LayerName, int] = field(default_factory=dict)
    seen: Mapping[ClientId, int] = field(default_factory=dict)

    def lacks(self, client: ClientId, block: LayerName) -> bool:
        """Return whether a client lacks the present weights of a selectable block."""
        return self.changed.get(block, 0) > self.seen.get(client, 0)

    def bytes_down(self, client: ClientId, layers: LayerMap) -> int:
        """Return the bytes of the blocks that the server has to send before the client can start."""
        first = client not in self.seen
        blocks = [b for b in layers.layers if self.lacks(client, b.name)]
        blocks += [b for b in layers.always if first or self.lacks(client, b.name)]
        return sum(b.bytes for b in blocks)

    def after(self, round: int, sent_to: Iterable[ClientId], moved: Iterable[LayerName]) -> Traffic:
        """Return the versions after a round."""
        return Traffic(
            changed={**self.changed, **dict.fromkeys(moved, round + 1)},
            seen={**self.seen, **dict.fromkeys(sent_to, round)},
        )
