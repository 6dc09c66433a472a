"""A run: rounds until the last one, each logged, evaluated and checkpointed; resumable to the same bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from fedstrata.domain.ids import LayerName
from fedstrata.domain.messages import Weights
from fedstrata.domain.records import RoundRecord
from fedstrata.engines.protocol import Engine
from fedstrata.errors import CheckpointError, TrainingError
from fedstrata.server.checkpoint import generations, load, save
from fedstrata.server.evaluation import CentralTest, Evaluation, evaluate_all
from fedstrata.server.folder import RunFolder, round_events
from fedstrata.server.method import Setting
from fedstrata.server.observers import Observer, Quiet
from fedstrata.server.round import play_round
from fedstrata.server.state import Best, ServerState, initial_state
from fedstrata.server.tables import write_tables

log = logging.getLogger(__name__)

State = Literal["finished", "interrupted", "failed"]
"""How a session of a run ended."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a run lasts and how often it looks and saves.

    Attributes:
        rounds: Number of rounds.
        evaluate_every: Evaluate after every so many rounds, and after the last.
        checkpoint_every: Checkpoint after every so many rounds, and after the last.
    """

    rounds: int
    evaluate_every: int = 1
    checkpoint_every: int = 1


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left.

    Attributes:
        folder: The run folder.
        state: ``finished`` or ``interrupted``.
        summary: The content of ``summary.json``.
        weights: Trainable tensors at the end.
    """

    folder: Path
    state: str
    summary: Mapping[str, Any]
    weights: Weights


@dataclass(frozen=True, slots=True)
class Run:
    """A run and everything that it needs.

    Attributes:
        setting: Method, clients, plans.
        schedule: Rounds, evaluations, checkpoints.
        engine: Where clients execute.
        test: Evaluates weights on the central test set.
        folder: Where the run is written.
        header: Facts for the log's first event (model, data, layer names).
        observer: Is told what happens.
        stop: Asked after each round; true ends the run early with everything saved.
        frozen: Measures the drift of the ``never`` blocks, by block name.
    """

    setting: Setting
    schedule: Schedule
    engine: Engine
    test: CentralTest
    folder: RunFolder
    header: Mapping[str, Any]
    observer: Observer = field(default_factory=Quiet)
    stop: Callable[[], bool] = lambda: False
    frozen: Callable[[], Mapping[LayerName, float]] = dict

    def start(self, weights: Weights) -> RunResult:
        """Run from the beginning.

        Raises:
            TrainingError: No client could train, or the global loss is not finite. Whole rounds are saved.
        """
        state = initial_state(self.setting, weights)
        length = self.folder.append([{"event": "run", **self.header, "rounds": self.schedule.rounds}])
        return self._play(state, length)

    def resume(self, weights: Weights) -> RunResult:
        """Go on from the newest checkpoint that can be read, or from the beginning if there is none.

        Args:
            weights: The starting point, for names and shapes.

        Raises:
            CheckpointError: There are checkpoints, and none can be read.
        """
        found = self._latest(weights)
        if found is None:
            self.folder.truncate(0)
            return self.start(weights)
        state, log_bytes = found
        self.folder.truncate(log_bytes)
        return self._play(state, log_bytes)

    def _latest(self, weights: Weights) -> tuple[ServerState, int] | None:
        problems = []
        for path in generations(self.folder.checkpoints):
            try:
                return load(path, weights, seed=self.setting.seeds.run)
            except CheckpointError as error:
                log.warning("%s; trying the older one", error)
                problems.append(str(error))
        if problems:
            raise CheckpointError(problems[0])
        return None

    def _play(self, state: ServerState, log_bytes: int) -> RunResult:
        """Play the rounds that are left; whatever ends them early, whole rounds are saved before it is passed on."""
        ended: State = "finished"
        try:
            if state.round == 0:
                state, log_bytes = self._look_before(state)
            else:
                self._announce(state, None)
            while state.round < self.schedule.rounds and ended == "finished":
                state, log_bytes = self._round(state)
                ended = self._save(state, log_bytes)
        except BaseException as error:
            self._break_off(state, log_bytes, error)
            raise
        return self._close(state, ended, None)

    def _look_before(self, state: ServerState) -> tuple[ServerState, int]:
        looked = self._evaluate(state)
        length = self.folder.append([{"event": "baseline", **asdict(looked)}])
        self._announce(state, looked)
        return replace(state, best=_better(None, -1, looked)), length

    def _round(self, state: ServerState) -> tuple[ServerState, int]:
        after, record = play_round(state, self.setting, self.engine, self.observer)
        record = replace(record, frozen_norms=self.frozen())
        if self._due(after.round, self.schedule.evaluate_every):
            looked = self._evaluate(after)
            record = _with(record, looked)
            after = replace(after, best=_better(after.best, record.round, looked))
        length = self.folder.append(round_events(record))
        self.observer.round_done(record)
        return after, length

    def _save(self, state: ServerState, log_bytes: int) -> State:
        """Write a checkpoint if one is due or the run is to stop, and return whether it stops."""
        stopped = self.stop() and state.round < self.schedule.rounds
        if stopped or self._due(state.round, self.schedule.checkpoint_every):
            self._checkpoint(state, log_bytes)
        return "interrupted" if stopped else "finished"

    def _checkpoint(self, state: ServerState, log_bytes: int) -> None:
        save(state, self.folder.checkpoints, log_bytes=log_bytes, seed=self.setting.seeds.run)

    def _due(self, finished: int, every: int) -> bool:
        return finished % every == 0 or finished == self.schedule.rounds

    def _break_off(self, state: ServerState, log_bytes: int, error: BaseException) -> None:
        """Save the whole rounds of a run that cannot go on, and say in the log how it ended."""
        try:
            if state.round and not self._due(state.round, self.schedule.checkpoint_every):
                self._checkpoint(state, log_bytes)
            ended: State = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._close(state, ended, str(error) or type(error).__name__)
        except OSError as trouble:
            log.warning("the end of the run could not be written to %s: %s", self.folder.path, trouble)

    def _evaluate(self, state: ServerState) -> Evaluation:
        self.observer.evaluating(state.round)
        looked = evaluate_all(
            state.weights,
            round=state.round,
            clients=list(self.setting.profiles),
            engine=self.engine,
            test=self.test,
        )
        if not isfinite(looked.test.loss):
            if state.round == 0:
                raise TrainingError(f"the test loss is {looked.test.loss} before training; look at the model's weights")
            raise TrainingError(
                f"after round {state.round - 1} the test loss is {looked.test.loss}; "
                "lower train.lr or aggregator.server_lr, or set train.clip_norm"
            )
        return looked

    def _announce(self, state: ServerState, looked: Evaluation | None) -> None:
        self.observer.run_started(
            method=self.setting.name,
            first_round=state.round,
            rounds=self.schedule.rounds,
            baseline=looked.test if looked else None,
        )

    def _close(self, state: ServerState, ended: State, message: str | None) -> RunResult:
        self.folder.append([{"event": "end", "state": ended, "message": message}])
        best = asdict(state.best) if state.best else None
        summary = write_tables(self.folder, state=ended, best=best)
        self.observer.run_done(ended)
        return RunResult(self.folder.path, ended, summary, state.weights)


def _with(record: RoundRecord, looked: Evaluation) -> RoundRecord:
    return replace(record, test=looked.test, validation=looked.validation, client_accuracy=looked.client_accuracy)


def _better(best: Best | None, round: int, looked: Evaluation) -> Best | None:
    """Choose by held-out accuracy, never by test accuracy; without held-out rows choose nothing."""
    if looked.validation is None:
        return None
    if best is not None and looked.validation.accuracy <= best.validation:
        return best
    return Best(round, looked.validation.accuracy, looked.test.accuracy, chosen_on="held-out")
