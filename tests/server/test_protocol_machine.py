"""The protocol as a machine: whatever comes in, whenever the server dies, rounds count what they must and nothing else.

Hypothesis chooses what happens; ``protocol_oracle.py`` says what must come of it. The journal is a real file, the clock
is virtual. A crash forgets everything that is not on disk; besides, it may cut the journal anywhere behind the
checkpoint, flip a bit there, or lose the answers that were kept. Then the round is played again from the checkpoint.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.engines.clock import VirtualClock
from fedstrata.server.rules import Rules
from fedstrata.wire.assignment import Assignment, Key
from fedstrata.wire.messages import Frame
from fedstrata.wire.sizes import Encoding
from protocol_model import ABSENT, NAMES, SPOILED, STALE, answer, framed, machine_setting, spoiled, stale
from protocol_oracle import Book, Oracle, Tally, weighted_mean
from protocol_server import SECONDS, Server

WHO = st.integers(0, len(NAMES) - 1)
VARIANT = st.integers(0, 1)


class Protocol(RuleBasedStateMachine):
    """A server, its journal, some clients, and an oracle."""

    @initialize(
        clients=st.integers(3, len(NAMES)),
        quorum=st.sampled_from([1, 2, 0.5, 1.0]),
        layer_quorum=st.integers(1, 2),
        retries=st.integers(0, 2),
        encoding=st.sampled_from(list(Encoding)),
        keep=st.booleans(),
    )
    def a_run_begins(
        self, clients: int, quorum: float, layer_quorum: int, retries: int, encoding: Encoding, keep: bool
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.cohort, self.here = NAMES[:clients], set(NAMES[: clients - 1])
        self.terms = Rules(quorum, layer_quorum, retries=retries, on_abandon="skip")
        setting, clock = machine_setting(self.cohort, self.terms, encoding), VirtualClock()
        self.server = Server(self.folder, setting, self.cohort, clock, keep=keep)
        self.book, self.doomed = Book(), False
        self.sent: list[tuple[Frame, Key, int]] = []
        self._expect_round()

    def _expect_round(self) -> None:
        self.tally = Tally()
        self._expect_phase()

    def _expect_phase(self) -> None:
        s = self.server
        population, keeps = s.setting.profiles, s.journal.keeps
        self.oracle = Oracle(s.asked, population, self.book, self.tally, s.clock, s.end, keeps=keeps)
        self.oracle.recall()

    def _pick(self, number: int) -> Assignment | None:
        """Return what a client that is here was asked in this phase, or nothing if nobody is."""
        asked = [a for c, a in self.oracle.asked.items() if c in self.here]
        return asked[number % len(asked)] if asked else None

    # What happens.

    @rule(who=WHO)
    def a_client_joins_or_leaves(self, who: int) -> None:
        self.here ^= {self.cohort[who % len(self.cohort)]}

    @rule(who=WHO, variant=VARIANT, as_frame=st.booleans())
    def a_client_answers_perhaps_again_perhaps_otherwise(self, who: int, variant: int, as_frame: bool) -> None:
        a = self._pick(who)
        if a is not None:
            self._answer(a, variant, as_frame=as_frame)

    def _answer(self, a: Assignment, variant: int, *, as_frame: bool) -> None:
        if as_frame:
            message = framed(answer(a, variant), a)
            self.sent.append((message, a.key, variant))
            self.server.receive(message)
        else:
            self.server.receive(answer(a, variant))
        self.oracle.answer(a.client, variant)

    @rule(number=st.integers(0, 10**6))
    def an_earlier_frame_is_delivered_again(self, number: int) -> None:
        if not self.sent:
            return
        frame, key, variant = self.sent[number % len(self.sent)]
        self.server.receive(frame)
        a = self.oracle.asked.get(frame.client)
        if a is not None and a.key == key:
            self.oracle.answer(frame.client, variant)
        else:
            self.oracle.dropped(frame.client, Reason.STALE)

    @rule(who=WHO, what=st.sampled_from(STALE), as_frame=st.booleans())
    def an_answer_to_something_else_comes(self, who: int, what: str, as_frame: bool) -> None:
        a = self._pick(who)
        if a is None:
            return
        reply = stale(a, what)
        self.server.receive(framed(reply, a) if as_frame else reply)
        self.oracle.dropped(a.client, Reason.STALE)

    @rule(who=WHO, at=st.integers(0, 10**6), cut=st.booleans())
    def a_frame_comes_damaged(self, who: int, at: int, cut: bool) -> None:
        a = self._pick(who)
        if a is None:
            return
        data = bytearray(framed(answer(a), a).data)
        if cut:
            del data[at % len(data) :]
        else:
            data[20 + at % (len(data) - 20)] ^= 1 << at % 8
        self.server.receive(Frame(a.client, bytes(data)))
        self.oracle.dropped(a.client, Reason.SIZE if cut else Reason.SCHEMA, damaged=True)

    @rule(who=WHO, other=WHO)
    def a_client_speaks_for_another(self, who: int, other: int) -> None:
        a, claimed = self._pick(who), self._pick(other)
        if a is None or claimed is None or a.client == claimed.client:
            return
        self.server.receive(framed(answer(claimed), claimed, channel=a.client))
        self.oracle.dropped(a.client, Reason.AUTH, damaged=True)

    @rule(who=WHO, how=st.sampled_from(list(SPOILED)), as_frame=st.booleans())
    def a_client_answers_what_it_may_not(self, who: int, how: str, as_frame: bool) -> None:
        a = self._pick(who)
        if a is None:
            return
        reply = spoiled(a, how)
        self.server.receive(framed(reply, a) if as_frame else reply)
        self.oracle.refused(a.client, SPOILED[how])

    @rule(stranger=st.booleans())
    def somebody_speaks_who_was_not_asked(self, stranger: bool) -> None:
        client = ClientId("nobody") if stranger else ABSENT
        a = replace(next(iter(self.oracle.asked.values())), client=client)
        self.server.receive(answer(a) if not stranger else Frame(client, b"hello"))
        self.oracle.dropped(client, Reason.AUTH)

    @rule(seconds=st.sampled_from([1.0, 1.0, 4.0, SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.server.clock.advance_to(self.server.clock.now() + seconds)

    @rule(as_frame=st.booleans())
    def everybody_here_answers_and_the_phase_ends(self, as_frame: bool) -> None:
        for client in reversed(self.oracle.open):
            if client in self.here:
                self._answer(self.oracle.asked[client], 0, as_frame=as_frame)
        self._close()

    @rule()
    def a_round_goes_well(self) -> None:
        before = self.server.state
        while self.server.state is before and not self.doomed:
            self.everybody_here_answers_and_the_phase_ends(as_frame=False)

    @rule()
    def the_phase_ends_if_its_time_has_come(self) -> None:
        if self.oracle.late or len(self.oracle.open) <= 1:
            self._close()

    @rule(
        keep=st.booleans(),
        cut=st.one_of(st.none(), st.floats(0, 1)),
        flip=st.booleans(),
        answers_gone=st.sampled_from([False] * 4 + [True]),
    )
    def the_server_crashes_and_comes_back(self, keep: bool, cut: float | None, flip: bool, answers_gone: bool) -> None:
        path, start = self.server.path, self.server.offset
        data = path.read_bytes()
        assert data[start:].count(b"\n") == len(self.book.lines)
        if cut is not None and self.book.whole:
            size = start + round(cut * (len(data) - start))
            if flip and size < len(data):
                data = data[:size] + bytes([data[size] ^ 1]) + data[size + 1 :]
                path.write_bytes(data)
            else:
                os.truncate(path, size)
            del self.book.lines[data[start:size].count(b"\n") :]
        if answers_gone:
            rmtree(self.folder / "accepted", ignore_errors=True)
            self.book.forget_answers()
        self.server.restore(keep=keep)
        self._expect_round()

    @rule()
    def the_server_will_die_between_journal_and_checkpoint(self) -> None:
        self.doomed = True

    # How phases and rounds end.

    def _close(self) -> None:
        self.server.close()
        self.oracle.close()
        self.what_counts_is_what_the_oracle_counts()
        if self.server.phase == "train":
            self._aggregate()
        elif self._enough(len(self.cohort) - len(self.tally.failures)):
            self.server.begin_phase("train")
            self._expect_phase()

    def _enough(self, answered: int) -> bool:
        """Hold the quorum against the oracle's count; without it, abandon the round."""
        quorum, cohort = self.terms.quorum, len(self.cohort)
        needed = quorum if isinstance(quorum, int) else min(n for n in range(1, cohort + 1) if n >= quorum * cohort)
        facts = self.server.short_of_quorum(answered)
        assert (facts is None) == (answered >= needed)
        if facts is None:
            return True
        self.tally.losses[Reason.BELOW_QUORUM] += 1
        assert (facts.losses, facts.failures) == (self.tally.losses, self.tally.failures)
        self.book.lines.append(None)
        self.server.abandon(facts, dies=self.doomed)
        self._expect_checkpoint()
        return False

    def _aggregate(self) -> None:
        before, asked = self.server.state.weights, self.oracle.asked
        after = self.server.aggregate()
        expected, few = weighted_mean(before, asked, self.oracle.counted, self.terms.layer_quorum)
        self.tally.losses[Reason.BELOW_QUORUM] += few
        assert self.server.recorder.losses == self.tally.losses
        assert {n for n in after if after[n] is not before[n]} == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(after[name].double(), torch.tensor(value).double(), rtol=1e-5, atol=1e-5)
        if self._enough(len(self.oracle.counted)):
            self.server.commit(after, dies=self.doomed)
            self._expect_checkpoint()

    def _expect_checkpoint(self) -> None:
        if self.doomed:
            self.book.lines.append(None)
        else:
            self.book = Book()
        self.doomed = False
        self._expect_round()

    # What holds at every moment.

    @invariant()
    def what_counts_is_what_the_oracle_counts(self) -> None:
        if not hasattr(self, "oracle"):
            return
        recorder = self.server.recorder
        assert self.server.replies.open() == self.oracle.open
        assert [one.reply.client for one in self.server.taken] == self.oracle.ready
        assert recorder.losses == self.tally.losses
        assert {c: r.reason for c, r in recorder.failures.items()} == self.tally.failures

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            rmtree(self.folder, ignore_errors=True)


def play_sequences(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Play so many sequences of up to fifty events."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # processes die here, not machines
    monkeypatch.setattr(logging.getLogger("fedstrata.runs.journal"), "disabled", True)
    run_state_machine_as_test(
        Protocol,
        settings=settings(max_examples=count, stateful_step_count=50, deadline=None, derandomize=True, database=None),
    )


def test_no_sequence_of_events_makes_a_round_count_what_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """``make soak`` plays two thousand."""
    play_sequences(20, monkeypatch)
