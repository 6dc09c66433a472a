"""Who gets what of one send: clients that are evaluated together go to one worker, others to whoever is free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedstrata.domain.ids import ClientId
from fedstrata.engines.clock import Deadline
from fedstrata.engines.workers.dispatch import Dispatch
from fedstrata.engines.workers.process import Task
from fedstrata.wire.messages import Evaluate, Failure, Frame, Request


@dataclass(slots=True)
class Desk:
    """A pretended worker."""

    task: Task | None = None
    pool: ClientId | None = None


@dataclass(slots=True)
class Desks:
    """A pool of pretended workers; of those at work the one that is named next finishes, or the first."""

    desks: list[Desk]
    turns: list[int] = field(default_factory=list)
    did: list[tuple[int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.desks)

    @property
    def busy(self) -> int:
        return sum(desk.task is not None for desk in self.desks)

    def works_on(self, pool: ClientId) -> bool:
        return any(desk.task is not None and desk.pool == pool for desk in self.desks)

    def raise_to(self, wanted: int) -> None:
        pass

    def stop(self, tasks: object) -> None:
        pass

    def give(self, task: Task) -> bool:
        free = [desk for desk in self.desks if desk.task is None]
        for desk in sorted(free, key=lambda desk: desk.pool != task.pool):
            desk.task, desk.pool = task, task.pool
            self.did.append((self.desks.index(desk), task.request.client))
            return True
        return False

    def wait(self, seconds: float) -> None:
        at_work = [desk for desk in self.desks if desk.task is not None]
        if not at_work or seconds == 0.0:
            return
        turn = self.turns.pop(0) if self.turns else -1
        desk = next((d for d in at_work if self.desks.index(d) == turn), at_work[0])
        assert desk.task is not None
        desk.task.reply = Frame(desk.task.request.client, b"")
        desk.task = None


class Full:
    """An arena that lacks nothing."""

    def lacks(self, weights: object) -> bool:
        return False


def asked(*pools: str) -> list[Request]:
    return [
        Evaluate(ClientId(c), 0, {}, together=tuple(map(ClientId, pool)) if len(pool) > 1 else ())
        for pool in pools
        for c in pool
    ]


def send(requests: list[Request], desks: Desks) -> list[str]:
    replies = Dispatch(desks, Full(), requests, Deadline()).replies()  # type: ignore[arg-type]
    return [reply.client for reply in replies if not isinstance(reply, Failure)]


def test_a_pool_is_one_worker_s_and_replies_keep_their_order() -> None:
    desks = Desks([Desk(), Desk()], turns=[1, 1, 0, 1, 0, 0, 1])
    assert send(asked("abcd", "efgh", "ijkl"), desks) == list("abcdefghijkl")
    for pool in ("abcd", "efgh", "ijkl"):
        assert len({desk for desk, client in desks.did if client in pool}) == 1
    assert {desk for desk, _ in desks.did} == {0, 1}


def test_nobody_is_free_while_a_pool_has_no_worker() -> None:
    desks = Desks([Desk(), Desk()])
    list(Dispatch(desks, Full(), asked("abcdefgh", "ijklmnop"), Deadline()).replies())  # type: ignore[arg-type]
    assert desks.did[:2] == [(0, "a"), (1, "i")]


def test_clients_alone_go_to_whoever_is_free() -> None:
    desks = Desks([Desk(), Desk()])
    assert send(asked(*"abcdef"), desks) == list("abcdef")
    assert desks.did[:2] == [(0, "a"), (1, "b")]


def test_no_more_than_a_pool_for_each_worker_is_drawn_ahead() -> None:
    drawn: list[str] = []

    def requests() -> list[Request]:
        return asked(*("".join(chr(97 + i) + chr(65 + i) for i in range(k, k + 4)) for k in range(0, 20, 4)))

    def source() -> Iterator[Request]:
        for request in requests():
            drawn.append(request.client)
            yield request

    desks = Desks([Desk(), Desk()])
    replies = Dispatch(desks, Full(), source(), Deadline()).replies()  # type: ignore[arg-type]
    next(replies)
    assert len(drawn) <= 2 * 8 + 6
