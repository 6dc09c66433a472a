"""The server's side of the protocol, driven from outside: rounds of probe and training over a journal on disk.

What ``server/round.py`` and ``server/session.py`` do between messages, in small steps, so that a test may let anything
happen between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Abandoned
from fedstrata.engines.clock import Deadline, VirtualClock
from fedstrata.errors import AbandonedError
from fedstrata.runs.journal import FileJournal
from fedstrata.server.assign import to_probe, to_train
from fedstrata.server.quorum import require, with_quorum
from fedstrata.server.recorder import Recorder
from fedstrata.server.replies import Accepted, Replies
from fedstrata.server.run import initial_state
from fedstrata.server.setting import Setting
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Frame, PhaseName, Reply, Update, Weights
from protocol_model import BLOCKS, mask_of, piggybacks, zero_weights

SECONDS = 10.0
"""How long a phase may take."""
RUN = "run-1"


class Server:
    """A server in the middle of a run.

    Args:
        folder: Where its journal and the answers that it keeps are.
        setting: The run.
        cohort: The clients of every round.
        clock: The clock of its deadlines.
        keep: Whether it keeps answers; it does where a layer's quorum needs them.
    """

    def __init__(
        self, folder: Path, setting: Setting, cohort: Sequence[ClientId], clock: VirtualClock, *, keep: bool
    ) -> None:
        self.path, self.setting, self.cohort, self.clock = folder / "journal.jsonl", setting, list(cohort), clock
        self.state = self.saved = initial_state(setting, zero_weights(), run=RUN)
        self.journal = self._open_journal(keep=keep)
        self.journal.begin(RUN)
        self.offset = self.journal.size
        self._begin_round()

    def _open_journal(self, *, keep: bool) -> FileJournal:
        return FileJournal(self.path, keep=keep or self.setting.rules.layer_quorum > 1)

    def _begin_round(self) -> None:
        self.recorder = Recorder(self.state, self.setting, self.cohort)
        self.begin_phase("probe")

    def begin_phase(self, phase: PhaseName) -> None:
        """Ask the clients of the cohort that are left, and take over what the journal knows."""
        present = [c for c in self.cohort if c not in self.recorder.failures]
        state = self.state
        if phase == "probe":
            self.asked: Mapping[ClientId, Assignment] = {a.client: a for a in to_probe(present, state, self.setting)}
        else:
            masks = {c: mask_of(c, state.round, state.attempt) for c in present}
            carriers = [c for c in present if piggybacks(c, state.round)]
            self.asked = to_train(masks, state, self.setting, carriers)
        self.phase, self.taken, self.end = phase, list[Accepted](), self.clock.now() + SECONDS
        self.replies = Replies(
            list(self.asked.values()),
            journal=self.journal,
            deadline=Deadline(self.end, self.clock),
            population=self.setting.profiles,
            lost=self.recorder.losses_of(phase),
        )
        self.replies.recall()
        self.taken += self.replies.ready()

    def receive(self, message: Reply | Frame) -> None:
        """Take in a message, and whatever may be handed on after it."""
        self.replies.receive(message)
        self.taken += self.replies.ready()

    def close(self) -> None:
        """End the phase."""
        self.replies.close()
        self.taken += self.replies.ready()

    def short_of_quorum(self, answered: int) -> Abandoned | None:
        """Return the facts of a round that too few clients answered, or ``None``."""
        try:
            require(answered, self.phase, self.recorder, self.setting.rules)
        except AbandonedError as error:
            facts: Abandoned = error.facts
            return facts
        return None

    def aggregate(self) -> Weights:
        """Return the weights that the updates make, without keeping them."""
        note, rules = self.recorder.note_update, self.setting.rules
        updates = (note(one.reply, one.norms) for one in self.taken if isinstance(one.reply, Update))
        counted = with_quorum(updates, self.asked, journal=self.journal, recorder=self.recorder, rules=rules)
        return self.setting.method.aggregator.apply(self.state.weights, counted, self.state.aggregator)[0]

    def commit(self, weights: Weights, *, dies: bool = False) -> None:
        """Make a round whole."""
        state = self.state
        moved = [b for b in BLOCKS if weights[b.tensors[0].name] is not state.weights[b.tensors[0].name]]
        versions = state.versions.moved(manifest_of(moved, weights))
        self.state = replace(state, round=state.round + 1, attempt=0, weights=weights, versions=versions)
        self._checkpoint(dies=dies)

    def abandon(self, facts: Abandoned, *, dies: bool = False) -> None:
        """Give up an attempt, or skip the round if that was its last."""
        state = self.state
        self.journal.abandon(state.round, state.attempt, facts.message)
        last = state.attempt >= self.setting.rules.retries
        self.state = replace(state, round=state.round + last, attempt=0 if last else state.attempt + 1)
        self._checkpoint(dies=dies)

    def _checkpoint(self, *, dies: bool) -> None:
        """Journal that what came before is whole, then save; a server that dies between the two comes back."""
        size = self.journal.commit(self.state.round, self.state.versions.base, kept_from=self.saved.round)
        if dies:
            self.restore(keep=self.journal.keeps)
        else:
            self.saved, self.offset = self.state, size
            self._begin_round()

    def restore(self, *, keep: bool) -> None:
        """Forget everything that is not on disk, and go on from the checkpoint."""
        del self.replies, self.recorder, self.taken
        self.journal = self._open_journal(keep=keep)
        self.journal.reopen(self.offset, RUN)
        self.state = self.saved
        self._begin_round()
