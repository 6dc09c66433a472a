"""One round, from top to bottom: the only loop body, under every engine.

sample -> PROBE -> score -> SELECT -> TRAIN -> AGGREGATE -> record; committed whole by ``session.py``, or abandoned here

With piggybacked probes (``piggyback.py``), PROBE asks only those whose scores did not come with the updates of the
round before.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedstrata.domain.cost import ClientRound
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import RoundRecord
from fedstrata.domain.selection import check
from fedstrata.engines.protocol import Engine
from fedstrata.runs.journal import Journal, MemoryJournal
from fedstrata.runs.state import ServerState, StateVersions
from fedstrata.server.assign import to_probe, to_train
from fedstrata.server.collect import collect
from fedstrata.server.observers import Observer
from fedstrata.server.piggyback import Piggyback, more
from fedstrata.server.quorum import require, with_quorum
from fedstrata.server.recorder import Recorder
from fedstrata.server.replies import Accepted
from fedstrata.server.scoring import measured_by, piggybacked_scores, score_table, sketch_table
from fedstrata.server.setting import Setting
from fedstrata.wire.admission import Norms
from fedstrata.wire.assignment import Assignment
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import PhaseName, Probe, Probed, Request, Train, Update


def play_round(
    state: ServerState,
    setting: Setting,
    engine: Engine,
    observer: Observer,
    journal: Journal | None = None,
    *,
    last: bool = False,
) -> tuple[ServerState, RoundRecord]:
    """Play one round and return the state after it, with the record of what happened.

    Args:
        state: The state before the round; not changed.
        setting: The run's method, clients, plans and rules.
        engine: Where the clients execute.
        observer: Is told of each client as it finishes.
        journal: Remembers which answers counted; by default for the length of the round.
        last: Whether no round follows that probes could be piggybacked for.

    Raises:
        AbandonedError: Too few clients answered; the round did not happen and ``state`` still stands.
        SelectionError: The selector broke its contract.
    """
    method, rules = setting.method, setting.rules
    journal = MemoryJournal(keep=rules.layer_quorum > 1) if journal is None else journal
    cohort = setting.cohort(state.round, state.attempt)
    recorder = Recorder(state, setting, cohort)
    observer.round_started(state.round + 1, len(cohort))
    asking = _Asking(state, setting, engine, observer, journal, recorder)

    wanted = method.selector.probes(state.round, cohort, state.selector)
    measured = {c: state.piggybacked[c] for c in wanted if c in state.piggybacked}
    probed = asking.probes([c for c in wanted if c not in measured])
    fresh = {r.client: m for r in probed if (m := measured_by(r, method.score, recorder)) is not None}
    present = [c for c in cohort if c not in recorder.failures]
    require(len(present), "probe", recorder, rules)
    scored = measured | fresh
    scores, sketches = score_table(present, scored, layers=len(setting.layers)), sketch_table(present, scored)

    piggyback = Piggyback.after(setting, method.selector, state.round, last=last)
    visits = _visits(state, setting, present, fresh)
    problem = setting.problem(state.round, piggyback.with_room(visits, scored, state.selector), scores, sketches)
    selection, selector_state = method.selector.select(problem, state.selector)
    check(selection, problem)
    carriers = piggyback.carriers(selection.masks, visits, selector_state)
    recorder.note_selection(selection, scores, setting.prices(selection.masks, more(visits, carriers)), measured)

    assigned = to_train(selection.masks, state, setting, carriers)
    updates = (recorder.note_update(update, norms) for update, norms in asking.updates(assigned))
    counted = with_quorum(updates, assigned, journal=journal, recorder=recorder, rules=rules)
    weights, aggregator_state = method.aggregator.apply(state.weights, counted, state.aggregator)
    require(len(recorder.contributors), "train", recorder, rules)

    piggybacked = piggybacked_scores(method.score, recorder)
    record, moved = recorder.close(weights, selection)
    after = ServerState(
        round=state.round + 1,
        weights=weights,
        selector=selector_state,
        aggregator=aggregator_state,
        versions=state.versions.sent(recorder.answered).moved(manifest_of(moved, weights)),
        best=state.best,
        run=state.run,
        piggybacked=piggybacked,
        states=_states(state, recorder.contributors) if setting.trainer.kept_copies else {},
    )
    return after, record


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks the clients of one round, phase by phase."""

    state: ServerState
    setting: Setting
    engine: Engine
    observer: Observer
    journal: Journal
    recorder: Recorder

    def probes(self, clients: Sequence[ClientId]) -> Iterator[Probed]:
        """Yield the statistics of the clients that answer."""
        state, plan = self.state, self.setting.probe_plan()
        asked = to_probe(clients, state, self.setting)
        for one in self._collect(asked, lambda a: Probe(a.client, state.round, state.weights, plan, a.origin)):
            if isinstance(one.reply, Probed):
                yield self.recorder.note_probed(one.reply)

    def updates(self, assigned: Mapping[ClientId, Assignment]) -> Iterator[tuple[Update, Norms]]:
        """Yield the updates that count, in order of client, each with the norms of its tensors."""
        state, plan, probe = self.state, self.setting.train_plan(self.state.round), self.setting.probe_plan()

        def request(a: Assignment) -> Request:
            asked, kept = probe if a.piggybacked else None, state.states.get(a.client)
            states = (kept.named if kept else ()) if self.setting.trainer.kept_copies else None
            return Train(a.client, state.round, state.weights, a.mask, plan, a.origin, asked, states)

        for one in self._collect(list(assigned.values()), request):
            if isinstance(one.reply, Update):
                yield one.reply, one.norms

    def _collect(self, asked: Sequence[Assignment], request: Callable[[Assignment], Request]) -> Iterator[Accepted]:
        if not asked:
            return iter(())
        phase: PhaseName = asked[0].phase
        return collect(
            asked,
            request,
            engine=self.engine,
            seconds=self.setting.rules.seconds(phase),
            journal=self.journal,
            population=self.setting.profiles,
            lost=self.recorder.losses_of(phase),
            done=lambda client, done: self.observer.client_done(phase, client, done=done, total=len(asked)),
        )


def _states(state: ServerState, trained: Iterable[ClientId]) -> dict[ClientId, StateVersions]:
    """Return the versions of the clients' states after a round in which these clients' training counted."""
    version = (state.round, state.attempt)
    new = {c: state.states[c].trained(version) if c in state.states else StateVersions(version) for c in trained}
    return dict(sorted({**state.states, **new}.items()))


def _visits(
    state: ServerState, setting: Setting, present: Sequence[ClientId], probed: Container[ClientId]
) -> dict[ClientId, ClientRound]:
    return {c: ClientRound(int(c in probed), state.versions.bytes_down(c, setting.layers)) for c in present}
