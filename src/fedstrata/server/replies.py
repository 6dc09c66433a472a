"""The replies of one phase: whatever comes in, in whatever order and however often, each client gets one outcome.

    message ----> in time? asked? this run, round, attempt, phase, base? sound? admitted? ---- no: a loss, with reason
                                            | yes
                  first of its key: journal, then hold until all clients before it have their outcome
                  again: DUPLICATE if it says the same, else CONFLICT; the first one counts

A message that was damaged on its way is as good as lost: a sound copy may still come. A sound message with the wrong
content is the client's answer, and loses the client. An answer that comes early is held in memory, or left with a
journal that keeps answers. Nothing here waits; ``collect.py`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import Deadline
from fedstrata.errors import StorageError
from fedstrata.runs.journal import Journal
from fedstrata.wire.admission import Norms, admit, admit_update, belongs
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Failure, Frame, Reject, Reply, Update
from fedstrata.wire.reply_frames import unframe

Loss = Callable[[ClientId, Reject, bool], None]
"""Is told of a client whose message did not count, why, and whether the client itself is lost."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that counts.

    Attributes:
        reply: ``Probed``, ``Update`` or ``Evaluated``.
        norms: Norm of each tensor of an update.
    """

    reply: Reply
    norms: Norms


class Replies:
    """Collects the answers of one phase.

    Args:
        asked: What was asked, in the order in which outcomes are handed on.
        journal: Is told of every outcome before anyone else.
        deadline: End of the phase.
        population: Every client of the run.
        lost: Is told of everything that does not count.
    """

    def __init__(
        self,
        asked: Sequence[Assignment],
        *,
        journal: Journal,
        deadline: Deadline,
        population: Container[ClientId],
        lost: Loss,
    ) -> None:
        self._asked = {a.client: a for a in asked}
        self._order = [a.client for a in asked]
        self._journal, self._deadline, self._population, self._lost = journal, deadline, population, lost
        self._digests: dict[ClientId, str | None] = {}
        self._held: dict[ClientId, Accepted | None] = {}
        self._trouble: dict[ClientId, Reject] = {}
        self._next = 0

    def recall(self) -> None:
        """Take over the outcomes that the journal knows."""
        for expected in self._asked.values():
            reply = self._journal.recall(expected)
            if isinstance(reply, Failure):
                self._lose(expected, Reject(reply.reason, reply.message))
            elif reply is not None:
                self._judge(expected, reply, None)

    @property
    def settled(self) -> int:
        """Number of clients that have their outcome."""
        return len(self._digests)

    def open(self) -> tuple[ClientId, ...]:
        """Return the clients without an outcome."""
        return tuple(c for c in self._order if c not in self._digests)

    def receive(self, message: Reply | Frame) -> None:
        """Take in a message; raises nothing."""
        client = message.client
        expected = self._asked.get(client)
        if expected is None:
            return self._drop(client, self._uninvited(client))
        if self._deadline.passed():
            return self._come_late(expected)
        if not isinstance(message, Frame):
            return self._read(expected, belongs(message, expected) or message, None)
        return self._read(expected, unframe(message.data, expected), message.data)

    def close(self) -> None:
        """End the phase: clients that have not answered are lost."""
        for client in self.open():
            late = Reject(Reason.LATE, "no answer came by the deadline")
            self._lose(self._asked[client], self._trouble.get(client, late))

    def ready(self) -> Iterator[Accepted]:
        """Yield the answers that count, in order, as far as every client before them has its outcome."""
        while self._next < len(self._order) and self._order[self._next] in self._digests:
            client = self._order[self._next]
            self._next += 1
            if client in self._held:
                yield self._held.pop(client) or self._read_back(self._asked[client])

    def _come_late(self, expected: Assignment) -> None:
        late = Reject(Reason.LATE, "its answer came after the deadline")
        return self._drop(expected.client, late) if expected.client in self._digests else self._lose(expected, late)

    def _uninvited(self, client: ClientId) -> Reject:
        if client in self._population:
            return Reject(Reason.STALE, "the client is not asked anything in this phase")
        return Reject(Reason.AUTH, "no client of this run is called so")

    def _read(self, expected: Assignment, reply: Reply | Reject, frame: bytes | None) -> None:
        """Judge a reply; what is no answer to this assignment at all costs its client nothing yet."""
        if not isinstance(reply, Reject):
            return self._judge(expected, reply, frame)
        if not (reply.damaged or reply.reason in (Reason.STALE, Reason.AUTH)):
            return self._refuse(expected, reply)
        if reply.reason is not Reason.STALE:
            self._trouble[expected.client] = reply
        return self._drop(expected.client, reply)

    def _judge(self, expected: Assignment, reply: Reply, frame: bytes | None) -> None:
        if isinstance(reply, Failure):
            return self._refuse(expected, Reject(reply.reason, reply.message))
        found = admit_update(reply, expected) if isinstance(reply, Update) else admit(reply, expected)
        if isinstance(found, Reject):
            return self._refuse(expected, found)
        client, digest = expected.client, content_of(reply)
        if client in self._digests:
            return self._again(client, digest)
        self._journal.accept(expected, reply, digest=digest, frame=frame)
        self._digests[client] = digest
        early = self._journal.keeps and client != self._order[self._next]
        self._held[client] = None if early else Accepted(reply, found or {})
        return None

    def _read_back(self, expected: Assignment) -> Accepted:
        """Return an answer that came early and was left with the journal rather than in memory."""
        reply = self._journal.recall(expected)
        norms = admit_update(reply, expected) if isinstance(reply, Update) else {}
        if reply is None or isinstance(reply, Failure) or isinstance(norms, Reject):
            raise StorageError(f"the answer of {expected.client} was kept on disk and cannot be read again")
        return Accepted(reply, norms)

    def _again(self, client: ClientId, digest: str) -> None:
        if self._digests[client] == digest:
            return self._drop(client, Reject(Reason.DUPLICATE, "the same answer came again"))
        return self._drop(
            client, Reject(Reason.CONFLICT, "another answer came for the same work; the first one counts")
        )

    def _refuse(self, expected: Assignment, reject: Reject) -> None:
        """Lose a client by its own answer, unless it has its outcome already."""
        client = expected.client
        if client not in self._digests:
            return self._lose(expected, reject)
        reason = Reason.DUPLICATE if self._digests[client] is None else Reason.CONFLICT
        return self._drop(client, Reject(reason, f"after the first answer came another: {reject.message}"))

    def _lose(self, expected: Assignment, reject: Reject) -> None:
        self._journal.lose(expected, reject)
        self._digests[expected.client] = None
        self._lost(expected.client, reject, True)

    def _drop(self, client: ClientId, reject: Reject) -> None:
        self._lost(client, reject, False)
