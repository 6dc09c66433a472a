"""One session of a run: rounds until the last one, each committed whole or abandoned; resumable to the same bits.

A round is committed in this order, and the last step decides: event log, journal, checkpoint.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Literal

from fedstrata.domain.layers import LayerMap
from fedstrata.domain.records import Abandoned, LayerRecord, RoundRecord, TheoryRecord
from fedstrata.errors import AbandonedError, StorageError, TrainingError
from fedstrata.files import argument
from fedstrata.runs.checkpoint import Place, generations, round_of, save
from fedstrata.runs.folder import Event, LogDigest, round_events
from fedstrata.runs.journal import FileJournal
from fedstrata.runs.result_files import write_tables
from fedstrata.runs.state import Best, ServerState
from fedstrata.server.evaluation import Evaluation, evaluate_all
from fedstrata.server.round import play_round
from fedstrata.server.setup import RunSetup
from fedstrata.server.theory import measured

log = logging.getLogger(__name__)

Ended = Literal["finished", "interrupted", "failed"]
"""How a session of a run ended."""


class Session:
    """Plays the rounds that are left.

    Args:
        run: What is played.
        state: Where it stands.
        log_bytes: Length of the event log that belongs to the state.
        journal: Remembers the outcomes of the round that is being played.
        check: Called before anything is written; raises a ``StorageError`` if the folder is no longer the run's.
    """

    def __init__(
        self, run: RunSetup, state: ServerState, log_bytes: int, journal: FileJournal, check: Callable[[], None]
    ) -> None:
        self.run, self.state, self.journal, self._check = run, state, journal, check
        self._log_bytes, self._digest = log_bytes, LogDigest(run.folder.events)
        self._saved = state

    def play(self) -> tuple[Ended, Mapping[str, Any]]:
        """Play to the end or until told to stop; whatever ends it early, whole rounds are saved before it is passed on.

        Returns:
            How it ended, and the summary.
        """
        ended: Ended = "finished"
        rounds = self.run.schedule.rounds
        try:
            if self.state.round == 0 and self.state.attempt == 0:
                self._look_before()
            else:
                self._announce(None)
            while self.state.round < rounds and ended == "finished":
                self._round()
                ended = self._save()
            summary = self._close(ended, None)
        except BaseException as error:
            self._break_off(error)
            raise
        return ended, summary

    def _look_before(self) -> None:
        looked = self._evaluate()
        self._append([{"event": "baseline", **asdict(looked)}])
        self._announce(looked)
        self.state = replace(self.state, best=self._kept(_better(None, 0, looked), self.state))

    def _round(self) -> None:
        after, record, given_up = self._committed()
        record = replace(record, frozen_norms=self.run.frozen(), theory=self._theory(after, record))
        self.state, before = after, self.state
        if self._due(after.round, self.run.schedule.evaluate_every):
            try:
                looked = self._evaluate()
            except BaseException:
                self.state = before  # the round is not logged, so it did not happen
                raise
            record = _with(record, looked)
            if record.committed:
                self.state = self._with_best(_better(after.best, record.round, looked), after, before)
        try:
            self._append([*given_up, *round_events(record)])
        except BaseException:
            self.state = before
            raise
        self.run.observer.round_done(record)

    def _with_best(self, best: Best | None, after: ServerState, before: ServerState) -> ServerState:
        """Return the state after a round with its best one; the round is not logged if its weights cannot be kept."""
        try:
            return replace(after, best=self._kept(best, after))
        except BaseException:
            self.state = before
            raise

    def _kept(self, best: Best | None, state: ServerState) -> Best | None:
        """Keep the weights of a round that has become the best one, where the run wants them in the end."""
        if self.run.best is not None and best is not None and best != state.best:
            self._check()
            self.run.best.save(best.round, state.weights)
        return best

    def _theory(self, after: ServerState, record: RoundRecord) -> TheoryRecord | None:
        """Measure the round's error where the run has an instrument for it; the round is not logged yet."""
        run = self.run
        if run.instrument is None:
            return record.theory
        return measured(run.instrument, self.state.weights, after.weights, record, run.setting.layers)

    def _committed(self) -> tuple[ServerState, RoundRecord, list[Event]]:
        """Play a round, again if it is abandoned, and return what came out of it, with what is logged before it.

        Raises:
            TrainingError: It was abandoned as often as the rules allow, and they say to stop.
        """
        run, rules = self.run, self.run.setting.rules
        last = self.state.round + 1 == run.schedule.rounds
        while True:
            try:
                return *play_round(self.state, run.setting, run.engine, run.observer, self.journal, last=last), []
            except AbandonedError as error:
                facts: Abandoned = error.facts
                tries = facts.attempt % (rules.retries + 1) + 1  # attempts of earlier sessions count
                given_up = tries > rules.retries
                run.observer.round_abandoned(facts, again=not given_up)
                self.journal.abandon(self.state.round, facts.attempt, facts.message)
                if given_up and rules.on_abandon == "skip":
                    skipped = _skipped(self.state, facts, run.setting.layers)
                    return *skipped, [_event(facts)]
                self._abandon(facts)
                if given_up:
                    times = f"given up after {tries} {'attempt' if tries == 1 else 'attempts'}"
                    advice = f"see to the clients, then go on with: fedstrata resume {argument(run.folder.path)}"
                    raise TrainingError(f"{error}; {times}; {advice}") from error

    def _abandon(self, facts: Abandoned) -> None:
        """Make an abandonment durable, as a round is: the next attempt has a number of its own, whatever happens."""
        self._append([_event(facts)])
        self.state = replace(self.state, attempt=facts.attempt + 1)
        self._checkpoint()

    def _save(self) -> Ended:
        """Write a checkpoint if one is due or the run is to stop, and return whether it stops."""
        stopped = self.run.stop() and self.state.round < self.run.schedule.rounds
        if stopped or self._due(self.state.round, self.run.schedule.checkpoint_every):
            self._checkpoint()
        return "interrupted" if stopped else "finished"

    def _checkpoint(self) -> None:
        self._check()
        self.state = replace(self.state, states={c: v.at_checkpoint() for c, v in self.state.states.items()})
        run, state = self.run, self.state
        folder = run.folder.checkpoints
        oldest = min((round_of(path) for path in generations(folder)), default=0)
        journal_bytes = self.journal.commit(state.round, state.versions.base, kept_from=oldest)
        place = Place(
            log_bytes=self._log_bytes,
            log_sha256=self._digest.upto(self._log_bytes),
            journal_bytes=journal_bytes,
            seed=run.setting.seeds.run,
            identity=run.identity,
        )
        save(state, folder, place)
        if run.best is not None:
            run.best.prune({s.best.round for s in (self._saved, state) if s.best is not None})
        self._saved = state

    def _due(self, finished: int, every: int) -> bool:
        return finished % every == 0 or finished == self.run.schedule.rounds

    def _break_off(self, error: BaseException) -> None:
        """Save the whole rounds of a run that cannot go on, and say in the log how it ended."""
        try:
            if self.state is not self._saved and self.state.round:
                self._checkpoint()
            ended: Ended = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
            self._close(ended, str(error) or type(error).__name__)
        except (OSError, StorageError) as trouble:
            if str(trouble) != str(error):
                log.warning("the end of the run could not be written to %s: %s", self.run.folder.path, trouble)

    def _append(self, events: list[Event]) -> None:
        self._check()
        self._log_bytes = self.run.folder.append(events)

    def _evaluate(self) -> Evaluation:
        run, state = self.run, self.state
        run.observer.evaluating(state.round)
        asked = run.setting.evaluated()
        looked = evaluate_all(
            state,
            asked,
            engine=run.engine,
            test=run.test,
            seconds=run.setting.rules.seconds("evaluate"),
            population=run.setting.profiles,
            held_out={client: run.setting.profiles[client].held_out for client in asked},
            rows_together=run.rows_together,
        )
        if not isfinite(looked.test.loss):
            if state.round == 0:
                raise TrainingError(f"the test loss is {looked.test.loss} before training; look at the model's weights")
            raise TrainingError(
                f"after round {state.round} the test loss is {looked.test.loss}; "
                "lower train.lr or aggregator.server_lr, or set train.clip_norm: "
                f"fedstrata resume {argument(run.folder.path)} --set train.lr=..."
            )
        return looked

    def _announce(self, looked: Evaluation | None) -> None:
        self.run.observer.run_started(
            method=self.run.setting.name,
            first_round=self.state.round + 1,
            rounds=self.run.schedule.rounds,
            baseline=looked.test if looked else None,
        )

    def _close(self, ended: Ended, message: str | None) -> Mapping[str, Any]:
        self._check()
        folder = self.run.folder
        folder.append([{"event": "end", "state": ended, "message": message}])
        best = asdict(self.state.best) if self.state.best else None
        try:
            summary = write_tables(folder, state=ended, best=best)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error  # pyarrow words its own
            raise StorageError(f"the tables in {folder.path} cannot be written: {reason}") from error
        self.run.observer.run_done(ended)
        return summary


def _event(facts: Abandoned) -> Event:
    return {"event": "abandoned", **asdict(facts)}


def _with(record: RoundRecord, looked: Evaluation) -> RoundRecord:
    losses = dict(sorted((Counter(record.losses) + Counter(looked.losses)).items()))
    return replace(
        record,
        test=looked.test,
        validation=looked.validation,
        client_accuracy=looked.client_accuracy,
        losses=losses,
    )


def _skipped(state: ServerState, facts: Abandoned, layers: LayerMap) -> tuple[ServerState, RoundRecord]:
    """Return the state after a round that was given up, with the weights from before it, and its record.

    What its attempts lost and cost is in their own records. Scores that were piggybacked for it are not used after it.
    """
    record = RoundRecord(
        round=facts.round,
        clients=(),
        layers=tuple(
            LayerRecord(block.name, contributors=0, data_mass=0.0, chi2=None, update_norm=0.0)
            for block in layers.trainable
        ),
        attempt=facts.attempt,
        committed=False,
    )
    return replace(state, round=state.round + 1, attempt=0, piggybacked={}), record


def _better(best: Best | None, round: int, looked: Evaluation) -> Best | None:
    """Choose by held-out accuracy, never by test accuracy; without held-out rows choose nothing."""
    if looked.validation is None:
        return None
    if best is not None and looked.validation.accuracy <= best.validation:
        return best
    return Best(round, looked.validation.accuracy, looked.test.accuracy, chosen_on="held-out")
