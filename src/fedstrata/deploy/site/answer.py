"""What a site answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to the server.

    Attributes:
        said: Plain values, as JSON holds them; ``kind`` is ``declaration``, ``frame``, ``missing``, ``refused``,
            ``crashed`` or ``late``. All but the first three hold a ``message`` of one sentence for the server.
        parts: Of a frame: everything up to its manifest, then one blob per block.
        blocks: Names of the blocks whose blobs follow the first part, in order.
        words: What a worker that gave no answer said last: for eyes on this machine alone, since it may name paths or
            rows.
    """

    said: dict[str, Any]
    parts: tuple[bytes, ...] = ()
    blocks: tuple[str, ...] = ()
    words: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of the parts."""
        return sum(map(len, self.parts))


def refused(message: str) -> Answer:
    """Return the answer of a site that does not take part, or to a message that cannot be answered by a frame.

    Example:
        >>> refused("it has too few rows").said
        {'kind': 'refused', 'message': 'it has too few rows'}
    """
    return Answer({"kind": "refused", "message": message})


Answering = Callable[[Mapping[str, Any], Mapping[str, bytes]], Answer]
"""Answers what is said, with the blobs of the layers that go with it."""
