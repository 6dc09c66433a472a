"""Which rows a run's clients take: noted request by request, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from torch import Tensor

from fedstrata.data.tensors import TensorRows
from fedstrata.engines.clock import Clock, Deadline
from fedstrata.engines.protocol import Engine
from fedstrata.wire.messages import Frame, Reply, Request, phase_of

Drawn = dict[tuple[str, int, str], list[tuple[int, ...]]]
"""By phase, round and client: the rows of every batch, in the order in which they were taken."""


@dataclass(slots=True)
class Notes:
    """What was drawn, and for whom."""

    drawn: Drawn = field(default_factory=dict)
    now: tuple[str, int, str] = ("", -1, "")

    def train(self, steps: int) -> Drawn:
        """Return the training batches alone: of a request with a probe that piggybacks, the last ones."""
        return {key: batches[-steps:] for key, batches in self.drawn.items() if key[0] == "train"}


@dataclass(frozen=True, slots=True)
class Watched:
    """Tells the notes which request an engine is at."""

    inner: Engine
    notes: Notes

    @property
    def repeatable(self) -> bool:
        return self.inner.repeatable

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    def send(self, requests: Iterable[Request], *, deadline: Deadline | None = None) -> Iterator[Reply | Frame]:
        for request in requests:
            self.notes.now = (phase_of(request), request.round, request.client)
            yield from self.inner.send([request], deadline=deadline)

    def close(self) -> None:
        self.inner.close()


def watch(patch: pytest.MonkeyPatch) -> Callable[[Engine], tuple[Watched, Notes]]:
    """Note every row that is taken from here on; return what puts an engine under watch, with notes of its own."""
    current = Notes()
    take = TensorRows.take

    def noted(self: TensorRows, indices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        current.drawn.setdefault(current.now, []).append(tuple(indices.tolist()))
        return take(self, indices)

    def put(engine: Engine) -> tuple[Watched, Notes]:
        nonlocal current
        current = Notes()
        return Watched(engine, current), current

    patch.setattr(TensorRows, "take", noted)
    return put
